"""`Decisions`: the most likely next token at some positions, and how far ahead of any other it is.

A choice between tokens that are nearly as likely says nothing of who made it, so the lead is kept with it.
Not about how much of a lead is enough (`exporter.validation.copying`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Decisions:
    """choices: [positions], tokens. leads: [positions], in nats: log of how many times as likely as the
    second the first is."""

    choices: NDArray[np.int64]
    leads: NDArray[np.float32]

    def first(self, count: int) -> Decisions:
        """Those of the first `count` positions."""
        return Decisions(self.choices[:count], self.leads[:count])


class TopTwo:
    """A `LogitsSink` that keeps what `Decisions` are made of."""

    def __init__(self, positions: int) -> None:
        self._choices = np.zeros(positions, np.int64)
        self._best = np.full(positions, -np.inf, np.float32)
        self._second = np.full(positions, -np.inf, np.float32)

    def take(self, start: int, block: NDArray[np.float32]) -> None:
        """block: [positions, n], the logits of tokens start to start + n; blocks come in order."""
        here = np.arange(len(block))
        top = block.argmax(-1)
        value = block[here, top]
        rest = block.copy()
        rest[here, top] = -np.inf
        better = value > self._best  # strictly: of equals, the lower token, as argmax has it
        beaten = np.where(better, self._best, value)
        self._second = np.maximum(self._second, np.maximum(beaten, rest.max(-1)))
        self._choices[better] = start + top[better]
        self._best[better] = value[better]

    def decisions(self) -> Decisions:
        return Decisions(self._choices, self._best - self._second)
