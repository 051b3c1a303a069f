"""Sizes of memory on the command line, "8GiB" or "24 GB", as bytes. Not about files."""

from __future__ import annotations

import re

MIB, GIB = 2**20, 2**30

# "G" alone is what tools that limit memory mean by it: binary.
UNITS = {
    "": 1, "B": 1,
    "K": 2**10, "KIB": 2**10, "KB": 10**3,
    "M": 2**20, "MIB": 2**20, "MB": 10**6,
    "G": 2**30, "GIB": 2**30, "GB": 10**9,
    "T": 2**40, "TIB": 2**40, "TB": 10**12,
}  # fmt: skip


def parse_bytes(text: str) -> int:
    """A number with a unit: GiB and G are 2^30 bytes, GB is 10^9, none is bytes. Raises ValueError."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    unit = UNITS.get(found[2].upper()) if found else None
    if found is None or unit is None or float(found[1]) == 0:
        raise ValueError(f"{text!r} is not a size; give one like 8GiB or 16GB")
    return round(float(found[1]) * unit)
