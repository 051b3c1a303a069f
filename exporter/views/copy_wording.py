"""What every view says of facts asked for from far back: one row for each subject and distance.

Not about any one view's layout.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from exporter.validation.report import CopyRun, Gate, ValidationReport
from exporter.views.wording import number

COPY_TITLE = "Facts from far back"
COPY_SENTENCE = (
    "Digits, names, dates and JSON keys that stand in the text and are asked for again so many tokens "
    "later. “Known” counts the tokens of the true answers that transformers on the original checkpoint "
    "gets right, “As the original” those where both choose alike. “Decided” are the tokens that the "
    "reference is decided about: transformers on the quantised checkpoint, and for the recipe itself on "
    "the original one. “Lost” are those of them that were chosen otherwise."
)
COPY_COLUMNS = ("Artifact", "Answered by", "Tokens back", "Known", "As the original", "Decided", "Lost")
WORDS = 2  # of the columns; the others are figures


@dataclass(frozen=True)
class CopyRow:
    """One row of the table, each cell as words. artifact: None for transformers."""

    artifact: str | None
    subject: str
    figures: tuple[str, ...]


def copy_rows(report: ValidationReport) -> Iterator[CopyRow]:
    """The table, in the report's order."""
    for run in report.copying:
        figures = (
            number(run.distance),
            f"{run.known} of {run.tokens}",
            f"{run.as_original} of {run.tokens}",
            str(run.decided),
            str(run.lost),
        )
        yield CopyRow(run.artifact, run.subject, figures)


def copy_sentences(report: ValidationReport, gate: Gate) -> tuple[str, ...]:
    """What a gate is made of, a sentence for each distance; none for a gate of another kind."""
    return tuple(
        _sentence(run)
        for run in report.copying
        if gate.kind == "copying" and (run.artifact, run.subject) == (gate.artifact, gate.subject)
    )


def _sentence(run: CopyRun) -> str:
    return (
        f"{number(run.distance)} tokens back: {run.as_original} of {run.tokens} as the original, which "
        f"knows {run.known}; {run.lost} lost of {run.decided} decided."
    )
