"""Environments of a benchmark's own, for packages that cannot be installed beside ours.

Kept below the cache directory and made when they are not there. Not about what runs in them.
"""

from __future__ import annotations

import subprocess
import sysconfig
import venv
from collections.abc import Sequence
from pathlib import Path

from runtimes.cache_directory import cache_directory


def environment(packages: Sequence[str], beside_ours: bool = False) -> Path:
    """The interpreter of an environment with these packages, the first of which names it.

    beside_ours: it sees this interpreter's packages too, behind its own, and gets no dependencies of those
    named, which must then be named themselves.
    """
    directory = cache_directory() / packages[0].replace("==", "-")
    python, made = directory / "bin" / "python", directory / "made"
    if made.exists():
        return python
    venv.create(directory, with_pip=True, clear=True)
    alone = ["--no-deps"] if beside_ours else []
    subprocess.run([python, "-m", "pip", "install", "--quiet", *alone, *packages], check=True)
    if beside_ours:
        (place,) = directory.glob("lib/python*/site-packages")
        (place / "beside.pth").write_text(f"{sysconfig.get_path('purelib')}\n", encoding="utf-8")
    made.touch()
    return python
