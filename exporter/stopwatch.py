"""`Stopwatch`: where the time of a command goes, step by step.

Wall-clock seconds of steps that follow each other; a step within another is counted in both and named as
its part. Not about how far a step is (`progress`), nor for benchmarks: machines are shared.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

PART = " / "  # between a step and its part


@dataclass(frozen=True)
class Timing:
    """step: in words, the steps around it first. seconds: of all its turns together."""

    step: str
    seconds: float


class Stopwatch:
    """Steps are named where they are taken: `with stopwatch.step("quantise")`."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._seconds: dict[str, float] = {}
        self._under_way: dict[str, float] = {}  # step to when its turn began, outermost first

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time what happens meanwhile, also where it ends in an error."""
        around = next(reversed(self._under_way), None)
        step = name if around is None else f"{around}{PART}{name}"
        self._seconds.setdefault(step, 0.0)  # in the order in which steps begin
        self._under_way[step] = self._clock()
        try:
            yield
        finally:
            self._seconds[step] += self._clock() - self._under_way.pop(step)

    def timings(self) -> tuple[Timing, ...]:
        """Every step so far, one around others before its parts, a step under way as far as it is."""
        now = self._clock()
        return tuple(
            Timing(step, seconds + now - self._under_way.get(step, now))
            for step, seconds in self._seconds.items()
        )
