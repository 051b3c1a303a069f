"""A command in a process of its own, with a time limit: what crashes or hangs there takes nothing with it.

What it prints is kept, for the report of how it ended. Not about what the command does.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from runtimes.errors import ExecutionFailed
from runtimes.excerpt import plain_excerpt

KEPT_LINES = 3  # of the last ones it printed, in an error
MOST_PRINTED = 1 << 20  # bytes that are looked at


@dataclass(frozen=True)
class Printed:
    """What a process wrote to both its outputs, line by line; the end of it where it was too much."""

    lines: tuple[str, ...]

    @property
    def last(self) -> str:
        """The last lines with something in them, on one line."""
        said = [line.strip() for line in self.lines if line.strip()][-KEPT_LINES:]
        return " / ".join(plain_excerpt(line) for line in said) or "nothing"


def own_python(module: str, *arguments: str) -> tuple[list[str], dict[str, str]]:
    """The command and the environment that run a module of this package with this interpreter."""
    here = str(Path(__file__).resolve().parents[1])
    path = os.pathsep.join(each for each in (here, os.environ.get("PYTHONPATH")) if each)
    return [sys.executable, "-m", module, *arguments], {**os.environ, "PYTHONPATH": path}


def run_in_own_process(
    command: Sequence[str], *, what: str, seconds: float, environment: Mapping[str, str] | None = None
) -> Printed:
    """Run it to its end. what: it in words, for errors. environment: all of it; None for this process's.

    The command leads a process group, which is killed when the time is over or this call is interrupted.
    Raises ExecutionFailed for a signal, an exit code other than 0, or more time than `seconds`.
    """
    with tempfile.TemporaryFile() as kept:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=kept,
            stderr=subprocess.STDOUT,
            env=None if environment is None else dict(environment),
            start_new_session=True,
        )
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            _end(process)
            raise ExecutionFailed(
                f"{what}: was not done after {seconds:g} s and was ended; it printed last: "
                f"{_read(kept).last}"
            ) from error
        finally:
            _end(process)
        printed = _read(kept)
    if code != 0:
        how = f"ended by {_signal_name(-code)}" if code < 0 else f"ended with exit code {code}"
        raise ExecutionFailed(f"{what}: {how}; it printed last: {printed.last}")
    return printed


def _end(process: subprocess.Popen[bytes]) -> None:
    """The whole group, also what the command has left behind."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _read(kept: IO[bytes]) -> Printed:
    size = kept.seek(0, os.SEEK_END)
    kept.seek(max(0, size - MOST_PRINTED))
    return Printed(tuple(kept.read().decode("utf-8", errors="replace").splitlines()))


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
