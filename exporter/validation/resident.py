"""How much a piece of work raised this process's peak of resident memory.

Linux only: writing 5 to /proc/self/clear_refs sets the peak back to the present (proc(5)). For
orientation: memory freed earlier and used again is not seen. `benchmarks/` measures in processes of
their own.
"""

from __future__ import annotations

from pathlib import Path

from runtimes.memory import process_memory

CLEAR_REFS = Path("/proc/self/clear_refs")


class PeakGrowth:
    """Starts measuring when made."""

    def __init__(self) -> None:
        try:
            CLEAR_REFS.write_text("5")
        except OSError:
            self._before = None
        else:
            self._before = process_memory().resident

    def so_far(self) -> int | None:
        """Bytes above the start at the highest point, None where the system does not say."""
        peak = process_memory().peak_resident
        return None if peak is None or self._before is None else max(0, peak - self._before)
