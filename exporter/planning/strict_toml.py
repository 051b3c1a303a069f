"""Reading TOML that somebody else wrote: recipes and device profiles.

tomllib has no limits of its own: nesting ends in a RecursionError, thousands of digits in a ValueError.
Not about which keys there are (`runtimes.records`).
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from runtimes.strict_json import read_plain_file

LARGEST = 1 << 20  # bytes; a recipe has some 2 KB


class StrictTomlError(ValueError):
    """Text that is not TOML as it is read here. With which file, the caller says."""


def read_toml_text(path: Path) -> str:
    """A file's text, without the byte order mark some editors begin it with.

    Raises OSError, and ValueError for what is no text of at most `LARGEST` bytes.
    """
    return read_plain_file(path, LARGEST).decode("utf-8-sig")


def parse_toml(text: str) -> dict[str, Any]:
    """The table a text holds. Raises StrictTomlError."""
    try:
        return tomllib.loads(text)
    except ValueError as error:
        raise StrictTomlError(str(error)) from error
    except RecursionError as error:
        raise StrictTomlError("is nested too deep") from error
