"""This process's memory, as Linux reports it.

Anonymous and total figures are kept apart: pages mapped from a file can be dropped and read
again, anonymous ones cannot.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class MemoryFacts:
    """Bytes. `None` where the system does not say (macOS has no /proc)."""

    anonymous: int | None  # RssAnon, now
    resident: int | None  # VmRSS, now
    peak_resident: int | None  # VmHWM


def process_memory(status: Path = Path("/proc/self/status")) -> MemoryFacts:
    """Read RssAnon, VmRSS and VmHWM of this process (proc(5))."""
    try:
        lines = status.read_text().splitlines()
    except OSError:
        return MemoryFacts(None, None, None)
    kib = {
        name: rest.split()[0] for name, _, rest in (line.partition(":") for line in lines) if rest.split()
    }

    def figure(name: str) -> int | None:
        return int(kib[name]) * 1024 if name in kib else None

    return MemoryFacts(figure("RssAnon"), figure("VmRSS"), figure("VmHWM"))


def available_memory(meminfo: Path = Path("/proc/meminfo")) -> int | None:
    """MemAvailable in bytes, None where the system does not say."""
    try:
        lines = meminfo.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None
