"""What every view says of images: what takes them, how far rows are off, what was answered about each.

Not about any one view's layout, nor about logits behind pictures, which are comparisons like any other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from exporter.validation.report import PictureRun, ValidationReport
from exporter.views.wording import number, one_line, percent

IMAGE_TITLE = "Pictures"
IMAGE_SENTENCE = (
    "An image tower makes rows of numbers of a picture, its soft tokens, which stand in the prompt where "
    "tokens of text would. They are compared with the rows that transformers makes of the same picture "
    "with the same quantised tower; the first lines compare that quantised tower with the original one. "
    "“Largest” is the largest difference of one number, “Mean error” the mean difference of a row, both "
    "in per cent of what the rows hold; “Cosine” is that of the row farthest off, and 1 is the same "
    "direction. “As the original” counts the tokens of the answer before the first that transformers on "
    "the original checkpoint would not choose."
)
IMAGE_COLUMNS = (
    "Artifact", "Made by", "Picture", "Answer", "Soft tokens", "Largest", "Mean error", "Cosine", "Seconds",
    "As the original",
)  # fmt: skip
WORDS = 4  # of the columns; the others are figures
NOTHING = "–"


@dataclass(frozen=True)
class PictureRow:
    """One row of the table, each cell as words. artifact: None for transformers."""

    artifact: str | None
    subject: str
    words: tuple[str, str]
    figures: tuple[str, ...]


def picture_rows(report: ValidationReport) -> Iterator[PictureRow]:
    """The table, in the report's order; nothing for a release of text alone."""
    for run in () if report.images is None else report.images.runs:
        for picture in run.pictures:
            yield PictureRow(run.artifact, run.subject, _words(picture), _figures(picture))


def image_sentences(report: ValidationReport) -> tuple[str, ...]:
    """What of the release takes images; nothing for a release of text alone."""
    if (images := report.images) is None:
        return ()
    taken = f"It takes images, each as at most {number(images.soft_tokens)} soft tokens, with "
    takes = "takes" if len(set(images.not_by)) == 1 else "take"
    text = f" {_listed(images.not_by)} {takes} text alone." if images.not_by else ""
    return (f"{taken}{_listed(images.taken_by)}.{text}",)


def tower_sentences(report: ValidationReport) -> Iterator[str]:
    """How each tower did, in short."""
    for run in () if report.images is None else report.images.runs:
        worst = max(run.pictures, key=lambda each: math.inf if math.isnan(each.relative) else each.relative)
        answers = [each.answer for each in run.pictures if each.answer is not None]
        agreed, tokens = sum(each.agreed for each in answers), sum(each.tokens for each in answers)
        said = f"; {agreed} of {tokens} tokens of answers as the original" if tokens else ""
        who = run.subject if run.artifact is None else f"{run.artifact}, {run.subject}"
        pictures = f"{len(run.pictures)} picture{'' if len(run.pictures) == 1 else 's'}"
        yield f"{who}: rows of {pictures} with a mean relative error of {percent(worst.relative)}{said}."


def _words(picture: PictureRun) -> tuple[str, str]:
    answer = NOTHING if picture.answer is None else one_line(picture.answer.text)
    return one_line(picture.picture), answer


def _figures(picture: PictureRun) -> tuple[str, ...]:
    answer = picture.answer
    return (
        number(picture.soft_tokens),
        percent(picture.largest),
        percent(picture.relative),
        f"{picture.cosine:.6f}",
        NOTHING if picture.seconds is None else number(picture.seconds),
        NOTHING if answer is None else f"{answer.agreed} of {answer.tokens}",
    )


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(map(one_line, dict.fromkeys(names)))
