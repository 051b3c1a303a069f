"""Whether a directory is a place where a file system is mounted: nothing can be renamed to it.

Asked before any work: what is renamed at its end would be lost. Not about links, which are refused as such.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")  # proc_pid_mountinfo(5): the fifth of its fields is the place
PLACE = 4


def is_mount_point(directory: Path) -> bool:
    """Of a directory mounted a second time too, which is of its parent's device and `os.path.ismount` does
    not know of; that where the system lists its mounts, which is Linux."""
    if os.path.ismount(directory):
        return True
    try:
        lines = os.fsdecode(MOUNTS.read_bytes()).splitlines()
    except OSError:
        return False
    places = (fields[PLACE] for line in lines if len(fields := line.split(" ")) > PLACE)
    return os.path.realpath(directory) in map(_unescaped, places)


def _unescaped(place: str) -> str:
    """Blanks, line breaks and backslashes stand there as their octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), place)
