"""Where this project keeps what took long to make and can be made again. Not about what lies there."""

from __future__ import annotations

import os
from pathlib import Path


def cache_directory() -> Path:
    """$XDG_CACHE_HOME/gemma-export, by default ~/.cache/gemma-export. It need not exist."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "gemma-export"
