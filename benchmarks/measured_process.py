"""Running a command and measuring it: wall and CPU seconds, peak anonymous and total memory.

Anonymous memory has no high-water mark in /proc, so it is sampled; total memory is the kernel's own.
"""

from __future__ import annotations

import os
import resource
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SAMPLE_SECONDS = 0.02
GIB = 2**30


@dataclass(frozen=True)
class Measured:
    """Seconds and bytes of one finished process, and what it printed on stdout."""

    wall: float
    cpu: float
    peak_anonymous: int
    peak_total: int
    output: str

    def row(self) -> str:
        return (
            f"{self.wall:7.1f} s wall {self.cpu:7.1f} s CPU "
            f"{self.peak_anonymous / GIB:5.2f} GiB anonymous {self.peak_total / GIB:5.2f} GiB total"
        )


def measure(
    command: Sequence[str], data_limit: int | None = None, expected: Sequence[int] = (0,)
) -> Measured:
    """Run `command` to its end. Raises RuntimeError with its stderr for an exit code not expected.

    data_limit: bytes of private memory it may ask for; more fails in it.
    """
    start = time.perf_counter()
    # Files, not pipes: nobody reads a pipe while the process is being sampled.
    with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
        process = subprocess.Popen(command, stdout=stdout, stderr=stderr)
        if data_limit is not None:
            resource.prlimit(process.pid, resource.RLIMIT_DATA, (data_limit, data_limit))
        anonymous = total = 0
        while True:
            found = _kib(Path(f"/proc/{process.pid}/status"))
            anonymous = max(anonymous, found.get("RssAnon", 0))
            total = max(total, found.get("VmHWM", 0))
            reaped, status, usage = os.wait4(process.pid, os.WNOHANG)
            if reaped:
                break
            time.sleep(SAMPLE_SECONDS)
        process.returncode = os.waitstatus_to_exitcode(status)
        stdout.seek(0)
        stderr.seek(0)
        output, errors = stdout.read(), stderr.read()
    if process.returncode not in expected:
        raise RuntimeError(f"{' '.join(command)} exited with {process.returncode}:\n{errors[-4000:]}")
    return Measured(
        wall=time.perf_counter() - start,
        cpu=usage.ru_utime + usage.ru_stime,
        peak_anonymous=anonymous * 1024,
        peak_total=total * 1024,
        output=output,
    )


def _kib(path: Path) -> dict[str, int]:
    try:
        status = path.read_text()
    except OSError:  # between its end and our wait
        return {}
    lines = (line.split() for line in status.splitlines() if line.startswith(("RssAnon:", "VmHWM:")))
    return {parts[0].rstrip(":"): int(parts[1]) for parts in lines}
