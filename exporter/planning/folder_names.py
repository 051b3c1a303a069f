"""Names that directories of releases are made of: such as every system takes, alone and behind each other.

Not about where a release goes (`exporter.packaging.release_directories`).
"""

from __future__ import annotations

import re
import unicodedata

LONGEST = 40  # characters: three of them, a model and a variant stay below the 255 of a file system
# What Windows takes for devices, whatever stands behind a dot.
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
EXPECTED = f"at most {LONGEST} letters A to Z, digits, '-', '_' and '.', a letter or digit at either end"


def is_folder_name(name: str) -> bool:
    """Without "+", which joins names of several devices."""
    return folder_name(name) == name


def folder_name(text: str) -> str:
    """The nearest to it that is one: "my phone", "mon téléphone" and ".." are "my-phone",
    "mon-telephone" and "unnamed"."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", plain).strip("._-")[:LONGEST].rstrip("._-") or "unnamed"
    return f"my-{name}" if RESERVED.fullmatch(name) else name
