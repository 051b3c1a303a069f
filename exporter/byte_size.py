"""Sizes in bytes as people write them: read from the command line, and put into words.

Whatever is said of a size shows it: a unit in which it would be nought is not chosen. Not about files.
"""

from __future__ import annotations

import math
import re

from runtimes.excerpt import excerpt

MIB, GIB = 2**20, 2**30

# "G" alone is what tools that limit memory mean by it: binary.
UNITS = {
    "": 1, "B": 1,
    "K": 2**10, "KIB": 2**10, "KB": 10**3,
    "M": 2**20, "MIB": 2**20, "MB": 10**6,
    "G": 2**30, "GIB": 2**30, "GB": 10**9,
    "T": 2**40, "TIB": 2**40, "TB": 10**12,
}  # fmt: skip

BINARY = (("TiB", 2**40), ("GiB", GIB), ("MiB", MIB), ("KiB", 2**10))
DECIMAL = (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3))
EXACT = sorted((*BINARY, *DECIMAL), key=lambda of: -of[1])
WHOLE_FROM = 10  # MB: below them a decimal says something
LARGEST = 2**63 - 1  # bytes that any system counts: what is more has no unit here, and no float in the end


def parse_bytes(text: str) -> int:
    """A number with a unit: GiB and G are 2^30 bytes, GB is 10^9, none is bytes. Raises ValueError."""
    found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*", text)
    unit = UNITS.get(found[2].upper()) if found else None
    size = 0.0 if found is None or unit is None else float(found[1]) * unit
    if size > LARGEST or round(size) == 0:
        raise ValueError(f"{excerpt(text)} is not a size; give one like 8GiB or 16GB")
    return round(size)


def exact_size(count: int) -> str:
    """In the largest unit of which it is a whole number, as whoever chose it wrote it: "8 GiB", "1 MB"."""
    for unit, size in EXACT:
        if count and count % size == 0:
            return f"{count // size:,} {unit}"
    return _bytes(count)


def no_less_than(count: float, like: int) -> str:
    """Rounded up: a limit of what it says is enough. "4.6 GiB", or "5 GB" where `like`, which it is held
    against, was written in such units."""
    for unit, size in BINARY if "iB" in exact_size(like) else DECIMAL:
        if count >= size:
            return f"{math.ceil(count / size * 10) / 10:,.1f} {unit}"
    return _bytes(math.ceil(count))


def megabytes(count: float) -> str:
    """MB (10^6), whole ones from ten on; kB and bytes where there is not one of them."""
    if count >= WHOLE_FROM * 1e6:
        return f"{count / 1e6:,.0f} MB"
    if count >= 1e6:
        return f"{count / 1e6:.1f} MB"
    return f"{count / 1e3:.1f} kB" if count >= 1e3 else _bytes(round(count))


def in_one_unit(*counts: int) -> tuple[str, ...]:
    """Of sizes that are held against each other: as `megabytes` has them where that is one unit in which
    no two read alike that are not, else to the byte."""
    words = tuple(map(megabytes, counts))
    units = {each.split()[1] for each in words}
    apart = len(set(words)) == len(set(counts))
    return words if len(units) == 1 and apart else tuple(map(_bytes, counts))


def _bytes(count: int) -> str:
    return f"{count:,} byte{'' if count == 1 else 's'}"
