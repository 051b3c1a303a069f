"""Recorded calls made again: the same tokens into a session, and how far its logits are from the record.

What is compared is a distribution over the listed tokens and all others together. Merging outcomes never
raises a KL divergence, so none is seen that is not there. Not about the file (`runtimes.recorded_calls`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtimes.errors import ArtifactError
from runtimes.recorded_calls import ExpectedLogits, RecordedArtifact, RecordedCall
from runtimes.session import Logits, Session

TOP = 32  # logits kept of a position
DECIMALS = 4  # of a logit; what that rounds away is a millionth of a nat


@dataclass(frozen=True)
class Replayed:
    """positions: that were compared. same_choice: those whose most likely token is the recorded one.
    Divergences are infinite where logits are not finite."""

    positions: int
    same_choice: int
    mean_kl: float
    max_kl: float


def summary(logits: NDArray[np.float32], position: int) -> ExpectedLogits:
    """What is kept of a position's logits, [vocab], which must be finite."""
    exact = logits.astype(np.float64)
    order = _largest(exact, min(TOP, len(exact) - 1))
    return ExpectedLogits(
        position=position,
        tokens=tuple(int(token) for token in order),
        logits=tuple(round(float(exact[token]), DECIMALS) for token in order),
        others=round(_log_sum_exp(np.delete(exact, order)), DECIMALS),
    )


def _largest(exact: NDArray[np.float64], count: int) -> NDArray[np.intp]:
    """Where the largest are, the first of them first; equal ones in the order of their ids. A vocabulary is
    not sorted for it."""
    least = np.partition(exact, -count)[-count]
    candidates = np.flatnonzero(exact >= least)
    found: NDArray[np.intp] = candidates[np.argsort(-exact[candidates], kind="stable")][:count]
    return found


def divergence(expected: ExpectedLogits, logits: NDArray[np.float32]) -> float:
    """KL of logits [vocab] from the expected ones, in nats; infinite where they are not finite."""
    exact = logits.astype(np.float64)
    if not np.isfinite(exact).all():
        return math.inf
    listed = list(expected.tokens)
    reference = _log_probabilities([*expected.logits, expected.others])
    found = _log_probabilities([*exact[listed], _log_sum_exp(np.delete(exact, listed))])
    return max(0.0, float(np.sum(np.exp(reference) * (reference - found))))


def replay(
    session: Session, recorded: RecordedArtifact, progress: Callable[[int], None] = lambda done: None
) -> Replayed:
    """Make all calls from an empty cache. progress: is told the tokens that were given.

    Raises ArtifactError where a call returns other positions than the record has, and what the session
    raises.
    """
    session.reset()
    divergences: list[float] = []
    same = done = 0
    for call in recorded.calls:
        logits = make_call(session, call)
        for expected in call.expected:
            row = logits[_row(recorded, call, expected, len(logits))]
            divergences.append(divergence(expected, row))
            same += int(row.argmax()) == expected.tokens[0]
        done += len(call.tokens)
        progress(done)
    return Replayed(len(divergences), same, float(np.mean(divergences)), max(divergences))


def make_call(session: Session, call: RecordedCall) -> Logits:
    """[positions that came back, vocab]: the last ones of the call's."""
    if call.call == "decode":
        return session.decode(call.tokens[0])[np.newaxis]
    return session.prefill(np.array(call.tokens, np.int32))


def _row(recorded: RecordedArtifact, call: RecordedCall, expected: ExpectedLogits, returned: int) -> int:
    row = expected.position - len(call.tokens)
    if -row > returned:
        raise ArtifactError(
            f"{recorded.artifact}: returns logits of {returned} positions for {len(call.tokens)} tokens "
            "and the record has more; they are not of one release, copy it again"
        )
    return row


def _log_probabilities(masses: list[float]) -> NDArray[np.float64]:
    """Of outcomes whose masses are given by their logarithms."""
    logs = np.array(masses)
    return logs - _log_sum_exp(logs)


def _log_sum_exp(exact: NDArray[np.float64]) -> float:
    largest = exact.max()
    return float(largest + np.log(np.exp(exact - largest).sum()))
