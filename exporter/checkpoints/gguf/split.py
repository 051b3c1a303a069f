"""`SplitGguf`: a GGUF in parts, as llama.cpp's gguf-split leaves it, read as one file.

The first part has all metadata, every part has tensors of its own and says which of how many it is. Not
about what a single file is made of (`file`).
Source: llama.cpp tools/gguf-split/gguf-split.cpp, src/llama.cpp `llama_split_path`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from exporter.checkpoints.gguf.file import GgufFile, GgufTensor
from exporter.checkpoints.gguf.part_names import PART_NAME
from exporter.errors import CheckpointError

COUNT, NUMBER, TENSORS = "split.count", "split.no", "split.tensors.count"
MOST_PARTS = 1000
RENAMED = "give the parts the names they were made with: NAME-00001-of-00003.gguf"


@dataclass(frozen=True)
class SplitGguf(GgufFile):
    """A `GgufFile` whose tensors lie in several. path: of the first part."""

    parts: tuple[GgufFile, ...]

    @property
    def paths(self) -> tuple[Path, ...]:
        return tuple(part.path for part in self.parts)

    def read_rows(self, name: str, start: int, stop: int) -> NDArray[np.uint8]:
        part = next(part for part in self.parts if name in part.tensors)
        return part.read_rows(name, start, stop)


def open_whole(path: Path) -> GgufFile:
    """The file, with its other parts where it is any one part of a split one.

    Raises CheckpointError for a part that is missing or damaged, and for parts of different splits.
    """
    given = GgufFile.open(path)
    count = given.metadata.get(COUNT, 1)
    if count in (0, 1):
        return given
    if type(count) is not int or not 1 < count <= MOST_PARTS:
        raise CheckpointError(f"{path}: {COUNT}", "is not a number of parts", "fetch the file again")
    named = PART_NAME.fullmatch(path.name)
    if named is None or int(named["count"]) != count:
        raise CheckpointError(path, f"is one of {count} parts and its name does not say so", RENAMED)
    parts = tuple(_part(path, named, number, count) for number in range(count))
    tensors: dict[str, GgufTensor] = {}
    for part in parts:
        if double := sorted(tensors.keys() & part.tensors.keys()):
            raise CheckpointError(
                part.path, f"has tensor {double[0]}, as another part has", "fetch all parts again"
            )
        tensors |= part.tensors
    metadata = {key: value for key, value in parts[0].metadata.items() if not key.startswith("split.")}
    stated = parts[0].metadata.get(TENSORS)
    if stated is not None and stated != len(tensors):
        raise CheckpointError(
            parts[0].path,
            f"speaks of {stated} tensors, the parts have {len(tensors)}",
            "these are not the parts of one file: fetch all of them again",
        )
    return SplitGguf(parts[0].path, metadata, tensors, parts)


def _part(given: Path, named: re.Match[str], number: int, count: int) -> GgufFile:
    # As the given one is spelled ("-OF-", ".GGUF"): where case matters, no other spelling is there.
    path = given.with_name(f"{named['stem']}-{number + 1:05}{named['of']}{count:05}{named['suffix']}")
    if not path.is_file():
        raise CheckpointError(
            path, f"is missing: {given.name} is one of {count} parts", "put all of them into one directory"
        )
    part = GgufFile.open(path)
    if (part.metadata.get(COUNT), part.metadata.get(NUMBER)) != (count, number):
        raise CheckpointError(path, f"does not say that it is part {number + 1} of {count}", RENAMED)
    return part
