"""What the command shows while it works: a bar per kind of work, or a line as each step ends.

A pipe gets lines, each written out at once with the time since the start, so that a job's log tells where
it is: as each step ends, and how far it is where it goes on for longer than people wait. Not about reports
(`exporter.views`).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from exporter.stopwatch import PART, Timing

if TYPE_CHECKING:
    from exporter.progress import Progress

QUIET = 20.0  # seconds without a line after which work that goes on says how far it is
PIPE_WIDTH = 132  # a pipe has none of its own, and 80 columns would break every path in the tables


def make_console() -> Any:
    """rich's console on standard output."""
    from rich.console import Console

    class RaisingConsole(Console):
        """Whose reader may go away: rich itself would exit with 1, which is for a failed gate."""

        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    return RaisingConsole(width=None if sys.stdout.isatty() else PIPE_WIDTH)


@contextmanager
def progress_on(console: Any, part_by_part: frozenset[str] = frozenset()) -> Iterator[Progress]:
    """A `Progress` that this console shows. part_by_part: work whose every part gets a line on a pipe."""
    if not console.is_terminal:
        yield LinePerStep(console, part_by_part)
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    bars: dict[str, Any] = {}
    columns = (TextColumn("{task.description:<28}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as shown:

        def report(what: str, done: int, total: int) -> None:
            if what not in bars:
                bars[what] = shown.add_task(what, total=total)
            shown.update(bars[what], completed=done, total=total)

        yield report


class LinePerStep:
    """Satisfies `Progress`: "  12.3 s  quantise", once each kind of work is done, and for some of them
    "  12.3 s  quantise: layers, 3 of 18" as each part is. Of work that takes long "  45.6 s  quantise, 40 %
    done" every QUIET seconds."""

    def __init__(self, console: Any, part_by_part: frozenset[str] = frozenset()) -> None:
        self._console, self._begin = console, time.monotonic()
        self._last = self._begin  # when a line was written
        self._part_by_part = part_by_part
        self._ended: set[str] = set()

    def __call__(self, what: str, done: int, total: int) -> None:
        if what in self._part_by_part:
            self._line(f"{what}, {done} of {total}")
            return
        if done < total:
            self._ended.discard(what)  # the same work may come again
            if time.monotonic() - self._last >= QUIET:
                self._line(f"{what}, {100 * done // total} % done")
            return
        if what not in self._ended:
            self._ended.add(what)
            self._line(what)

    def _line(self, words: str) -> None:
        self._last = time.monotonic()
        elapsed = self._last - self._begin
        self._console.print(f"{elapsed:7.1f} s  {words}", highlight=False, markup=False, soft_wrap=True)
        self._console.file.flush()


def print_timings(timings: tuple[Timing, ...], console: Any) -> None:
    """Where the time went: seconds a step, parts below the step they belong to."""
    console.print("Where the time went (wall-clock seconds of this machine):")
    for timing in timings:
        *around, step = timing.step.split(PART)
        line = f"{timing.seconds:8.1f} s  {'  ' * len(around)}{step}"
        console.print(line, highlight=False, markup=False, soft_wrap=True)
