"""Digits, names, dates and JSON keys from far back: does an artifact choose there what it should?

A teacher gives every token of the true answers, so that one pass asks for all. Held against each other, at
the tokens that whoever is the reference decides with a lead (`DECIDED`), since of two tokens nearly as
likely either is right:
    execution      an artifact, on a driver or a path, against transformers on the quantised checkpoint:
                   none may be lost
    quantisation   transformers on the quantised checkpoint against transformers on the original one: as
                   many may be lost as the recipe allows of top-1
A reference need not know the answer itself; the report says how often it does. Not about the text
(`exporter.reference.copy_text`) or paths' time (`path_copying`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exporter.planning.recipe import QualityLimit
from exporter.reference.copy_text import CopyText
from exporter.reference.leads import Decisions
from exporter.validation.findings import Findings
from exporter.validation.gates import SHARE, count_gate
from exporter.validation.report import CopyRun, Gate
from exporter.validation.verdict import at_least
from runtimes.session import Session

LOST, KEPT, TOKENS = "answer tokens lost", "answer tokens kept", "tokens"
NO_TOKEN = -1  # chosen where logits are not all numbers

# Nats the first token is ahead of the second: e times as likely. Of Gemma 3 270M's answers nearly all are;
# kernels that round activations to 8 bits move a lead by less.
DECIDED = 1.0

Choices = NDArray[np.int64]


@dataclass(frozen=True)
class Copying:
    """A text and what transformers chooses in it, at the text's positions."""

    text: CopyText
    original: Decisions
    quantised: Decisions

    def within(self, context: int) -> Copying | None:
        """As far as caches of `context` positions hold it."""
        text = self.text.within(context)
        if text is None:
            return None
        count = len(text.positions)
        return Copying(text, self.original.first(count), self.quantised.first(count))


def answers_of(session: Session, text: CopyText, tell: Callable[[int], None]) -> Choices:
    """What an opened artifact chooses at the text's positions. tell: called with tokens done."""
    session.reset()
    found: dict[int, int] = {}
    at = 0
    for stretch in text.stretches():
        session.prefill(text.tokens[at : stretch.first])
        for position in range(stretch.first, stretch.end):
            found[position] = chosen(session.decode(int(text.tokens[position])))
        at = stretch.end
        tell(at)
    return np.array([found[int(position)] for position in text.positions])


def chosen(logits: NDArray[np.float32]) -> int:
    """The most likely token of [vocab], `NO_TOKEN` where one is not a number."""
    return int(logits.argmax()) if np.isfinite(logits).all() else NO_TOKEN


def judge_execution(
    findings: Findings,
    artifact: str,
    subject: str,
    copying: Copying,
    asked: NDArray[np.bool_],
    found: Choices,
) -> None:
    """Put down how an artifact answered. asked: which of the text's positions; found: its choices there."""
    expected = copying.quantised
    findings.copying += _runs(artifact, subject, copying, expected, asked, found)
    decided = expected.leads[asked] >= DECIDED
    if not decided.any():
        findings.not_checked.append(
            f"{artifact}, {subject}: transformers on the quantised checkpoint is decided about no answer "
            "of the copy-and-extract text, so that nothing could be lost."
        )
        return
    lost = int((decided & (found != expected.choices[asked])).sum())
    findings.gates.append(count_gate("copying", artifact, subject, LOST, lost, TOKENS))


def judge_quantisation(findings: Findings, recipe: str, copying: Copying, limit: QualityLimit) -> None:
    """Put down what quantising costs. Nothing decided, nothing to keep: then that is said."""
    everywhere = np.ones(len(copying.text.positions), bool)
    subject, found = f"recipe {recipe}", copying.quantised.choices
    findings.copying += _runs(None, subject, copying, copying.original, everywhere, found)
    decided = copying.original.leads >= DECIDED
    if not decided.any():
        findings.not_checked.append(
            f"{subject}: transformers on the original checkpoint is decided about no answer of the "
            "copy-and-extract text, so that quantising could lose none."
        )
        return
    kept = float((found == copying.original.choices)[decided].mean())
    findings.gates.append(Gate("copying", None, subject, KEPT, at_least(kept, limit.top1, SHARE)))


def _runs(
    artifact: str | None,
    subject: str,
    copying: Copying,
    expected: Decisions,
    asked: NDArray[np.bool_],
    found: Choices,
) -> Iterator[CopyRun]:
    whole = np.full(len(asked), NO_TOKEN)
    whole[asked] = found
    text, original = copying.text, copying.original.choices
    for distance in text.distances:
        here = text.of(distance) & asked
        if here.any():
            decided = here & (expected.leads >= DECIDED)
            yield CopyRun(
                artifact=artifact,
                subject=subject,
                distance=distance,
                tokens=int(here.sum()),
                known=int((original == text.true)[here].sum()),
                as_original=int((whole == original)[here].sum()),
                decided=int(decided.sum()),
                lost=int((whole != expected.choices)[decided].sum()),
            )
