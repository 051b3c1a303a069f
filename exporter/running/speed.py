"""How fast an artifact reads and writes here: tokens a second, several runs each.

Figures are of this machine, with what else it does at the time; they say nothing of a phone. Tokens are
drawn by a seed: how fast a graph computes does not depend on which they are. Not about printing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import numpy as np

from runtimes.session import Session

SEED = 11
SECONDS = 60.0  # of all runs of an artifact: the MIL evaluator writes two tokens a second
TRIED = 16  # tokens of a first short prefill, by which that is told
TICK = 1e-9  # no clock shows that nothing took any time


@dataclass(frozen=True)
class SpeedOrder:
    """prefill_tokens, decode_tokens: of each run, less where the context is shorter. threads: for runtimes
    that let one choose."""

    prefill_tokens: int
    decode_tokens: int
    runs: int
    threads: int


@dataclass(frozen=True)
class PaceRuns:
    """Tokens a second of each run, in order; a first one beside these warmed up."""

    tokens: int
    runs: tuple[float, ...]

    @property
    def median(self) -> float:
        return median(self.runs)

    @property
    def lowest(self) -> float:
        return min(self.runs)

    @property
    def highest(self) -> float:
        return max(self.runs)


@dataclass(frozen=True)
class Speed:
    """Of an opened artifact. decode: at the positions behind the prefill."""

    prefill: PaceRuns
    decode: PaceRuns


def measure_speed(session: Session, order: SpeedOrder, progress: Callable[[int], None]) -> Speed:
    """progress: is told the runs that are done, of `order.runs` and one to warm up.

    Where all runs would take longer than `SECONDS`, each has fewer tokens.
    """
    context = session.facts.context
    prefilled = max(1, min(order.prefill_tokens, context - order.decode_tokens, context - 1))
    decoded = min(order.decode_tokens, context - prefilled)
    tried = _run(session, min(prefilled, TRIED), min(decoded, 2))
    expected = prefilled / tried.prefill + decoded / tried.decode
    share = min(1.0, SECONDS / (expected * (order.runs + 1)))
    prefilled, decoded = max(1, int(prefilled * share)), max(1, int(decoded * share))
    found = []
    for run in range(order.runs + 1):
        found.append(_run(session, prefilled, decoded))
        progress(run + 1)
    return Speed(
        PaceRuns(prefilled, tuple(each.prefill for each in found[1:])),
        PaceRuns(decoded, tuple(each.decode for each in found[1:])),
    )


@dataclass(frozen=True)
class _Run:
    """Tokens a second."""

    prefill: float
    decode: float


def _run(session: Session, prefilled: int, decoded: int) -> _Run:
    """From an empty cache. Tokens are drawn anew, always the same ones."""
    drawn = np.random.default_rng(SEED).integers(0, session.facts.vocab_size, prefilled + decoded)
    tokens = drawn.astype(np.int32)
    session.reset()
    begin = time.perf_counter()
    session.prefill(tokens[:prefilled])
    between = time.perf_counter()
    for token in tokens[prefilled:].tolist():
        session.decode(token)
    end = time.perf_counter()
    return _Run(prefilled / max(between - begin, TICK), decoded / max(end - between, TICK))
