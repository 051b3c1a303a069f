"""What every view says of images and sounds: what takes them, how far rows are off, what was answered about
each.

Not about any one view's layout, nor about logits behind them, which are comparisons like any other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from exporter.validation.report import SampleRun, TowerInput, TowerRun, ValidationReport
from exporter.views.wording import number, one_line, percent

WORDS = 4  # of the columns; the others are figures
NOTHING = "–"


@dataclass(frozen=True)
class InputWords:
    """title: of the table. taken: what the release takes. sample: one of them. tower: what
    makes rows of one."""

    title: str
    taken: str
    sample: str
    tower: str

    @property
    def sentence(self) -> str:
        """What the table is."""
        return (
            f"An {self.tower} makes rows of numbers of a {self.sample}, its soft tokens, which stand in "
            "the prompt where tokens of text would. They are compared with the rows that transformers "
            f"makes of the same {self.sample} with the same quantised {self.tower}; the first lines "
            f"compare that quantised {self.tower} with the original one. “Largest” is the largest "
            "difference of one number, “Mean error” the mean difference of a row, both in per cent of "
            "what the rows hold; “Cosine” is that of the row farthest off, and 1 is the same direction. "
            "“As the original” counts the tokens of the answer before the first that transformers on the "
            "original checkpoint would not choose."
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """`WORDS` of words, and figures."""
        words = ("Artifact", "Made by", self.sample.capitalize(), "Answer")
        return (*words, "Soft tokens", "Largest", "Mean error", "Cosine", "Seconds", "As the original")


PICTURES = InputWords("Pictures", "images", "picture", "image tower")
SOUNDS = InputWords("Sounds", "sounds", "sound", "audio encoder")


@dataclass(frozen=True)
class SampleRow:
    """One row of the table, each cell as words. artifact: None for transformers."""

    artifact: str | None
    subject: str
    words: tuple[str, str]
    figures: tuple[str, ...]


def tower_inputs(report: ValidationReport) -> tuple[tuple[InputWords, TowerInput], ...]:
    """What the release takes beside text, and what it is called; nothing for a release of text alone."""
    both = ((PICTURES, report.images), (SOUNDS, report.sounds))
    return tuple((words, found) for words, found in both if found is not None)


def tower_runs(report: ValidationReport) -> tuple[TowerRun, ...]:
    """Of all of them."""
    return tuple(run for _, found in tower_inputs(report) for run in found.runs)


def sample_rows(found: TowerInput) -> Iterator[SampleRow]:
    """The table, in the report's order."""
    for run in found.runs:
        for sample in run.samples:
            yield SampleRow(run.artifact, run.subject, _words(sample), _figures(sample))


def taken_sentences(report: ValidationReport) -> tuple[str, ...]:
    """What of the release takes images and sounds; nothing for a release of text alone."""
    return tuple(_taken(words, found) for words, found in tower_inputs(report))


def _taken(words: InputWords, found: TowerInput) -> str:
    taken = f"It takes {words.taken}, each as at most {number(found.soft_tokens)} soft tokens, with "
    takes = "takes" if len(set(found.not_by)) == 1 else "take"
    without = f" {_listed(found.not_by)} {takes} no {words.taken}." if found.not_by else ""
    return f"{taken}{_listed(found.taken_by)}.{without}"


def rows_sentences(report: ValidationReport) -> Iterator[str]:
    """How each tower did, in short."""
    for words, found in tower_inputs(report):
        for run in found.runs:
            yield _rows(words, run)


def _rows(words: InputWords, run: TowerRun) -> str:
    worst = max(run.samples, key=lambda each: math.inf if math.isnan(each.relative) else each.relative)
    answers = [each.answer for each in run.samples if each.answer is not None]
    agreed, tokens = sum(each.agreed for each in answers), sum(each.tokens for each in answers)
    said = f"; {agreed} of {tokens} tokens of answers as the original" if tokens else ""
    who = run.subject if run.artifact is None else f"{run.artifact}, {run.subject}"
    samples = f"{len(run.samples)} {words.sample}{'' if len(run.samples) == 1 else 's'}"
    return f"{who}: rows of {samples} with a mean relative error of {percent(worst.relative)}{said}."


def _words(sample: SampleRun) -> tuple[str, str]:
    answer = NOTHING if sample.answer is None else one_line(sample.answer.text)
    return one_line(sample.sample), answer


def _figures(sample: SampleRun) -> tuple[str, ...]:
    answer = sample.answer
    return (
        number(sample.soft_tokens),
        percent(sample.largest),
        percent(sample.relative),
        f"{sample.cosine:.6f}",
        NOTHING if sample.seconds is None else number(sample.seconds),
        NOTHING if answer is None else f"{answer.agreed} of {answer.tokens}",
    )


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(map(one_line, dict.fromkeys(names)))
