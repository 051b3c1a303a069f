"""`ImageProcessing`: what is done to a picture before it enters a tower, as a release says it.

Written once, as `image_processing.json`: the driver here follows it, and so can any client. As strict as
the manifest. Not about doing it (`preparing`), nor about what onnxruntime-genai, LiteRT-LM or
transformers.js are told in files of their own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtimes.processing_file import ProcessingFile, require_marks, require_within
from runtimes.records import RecordError, to_plain

PROCESSING_NAME = "image_processing.json"
PROCESSING_SCHEMA_VERSION = 1
# What no model comes near; a stranger's file must not ask for gigabytes.
LONGEST_SIDE, MOST_SOFT_TOKENS = 4096, 1 << 14
MOST_PIXELS_MADE = LONGEST_SIDE**2
# Of a mean or deviation of colours, which are shares of 255: published ones are 0.5.
LARGEST_COLOUR, SMALLEST_DEVIATION = 1e6, 1e-6


@dataclass(frozen=True)
class SquareProcessing:
    """Gemma 3: squashed to side x side, bilinear; (value / 255 - mean) / std by channel."""

    side: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True)
class PatchProcessing:
    """Gemma 4: scaled, bicubic, to the largest size of its aspect that has no more squares of kernel x
    kernel patches than soft tokens; value / 255. merged: a square is one row, not kernel * kernel. places:
    how many patches (squares, where merged) in a row the tower has positions for; None, which is left out
    of the file, where a picture cannot have more."""

    patch_size: int
    kernel: int
    merged: bool
    places: int | None = None


@dataclass(frozen=True)
class ImageMarks:
    """Ids: one in place of each row, one before and one behind them. line_breaks: two are written before
    `begin` and two behind `end`. placeholder: how a chat template spells an image."""

    soft: int
    begin: int
    end: int
    line_breaks: bool
    placeholder: str


@dataclass(frozen=True)
class ImageProcessing:
    """soft_tokens: of an image, at most. Of `square` and `patches` one is None."""

    schema_version: int
    soft_tokens: int
    marks: ImageMarks
    square: SquareProcessing | None
    patches: PatchProcessing | None

    def to_json(self) -> str:
        plain = to_plain(self)
        if self.patches is not None and self.patches.places is None:
            del plain["patches"]["places"]
        return json.dumps(plain, indent=2, ensure_ascii=False) + "\n"


def read_processing(release: Path) -> ImageProcessing:
    """Read and check a release's `image_processing.json`. Raises ProcessingError naming file and key."""
    return _FILE.read(release)


def _with_all_keys(raw: dict[str, Any]) -> dict[str, Any]:
    patches = raw.get("patches")
    return {**raw, "patches": {"places": None, **patches}} if isinstance(patches, dict) else raw


def _require_possible(found: ImageProcessing) -> None:
    """Values that have the right type and cannot be."""
    require_within("$.soft_tokens", found.soft_tokens, 1, MOST_SOFT_TOKENS)
    marks = found.marks
    require_marks(marks.soft, marks.begin, marks.end, marks.placeholder)
    if (found.square is None) == (found.patches is None):
        raise RecordError("$.patches", "one of square and patches is null, and the other is not")
    if found.square is not None:
        require_within("$.square.side", found.square.side, 1, LONGEST_SIDE)
        for name in ("mean", "std"):
            values = getattr(found.square, name)
            if len(values) != 3:
                raise RecordError(f"$.square.{name}", f"has {len(values)} numbers, and colours are 3")
            if not scales_pixels(values, deviation=name == "std"):
                raise RecordError(f"$.square.{name}", "has a number that pixels cannot be scaled by")
    if found.patches is not None:
        for name in ("patch_size", "kernel"):
            require_within(f"$.patches.{name}", getattr(found.patches, name), 1, 64)
        if found.patches.places is not None:
            require_within("$.patches.places", found.patches.places, 1, LONGEST_SIDE * MOST_SOFT_TOKENS)
        square = (found.patches.patch_size * found.patches.kernel) ** 2
        if square * found.soft_tokens > MOST_PIXELS_MADE:
            raise RecordError("$.soft_tokens", f"of {square} pixels each are more than {MOST_PIXELS_MADE}")


def scales_pixels(values: Sequence[float], deviation: bool) -> bool:
    """Whether what comes of pixels by a mean, or by a deviation, is finite in float32."""
    within = all(abs(each) < LARGEST_COLOUR for each in values)
    return within and not (deviation and min(values) < SMALLEST_DEVIATION)


_FILE = ProcessingFile(
    name=PROCESSING_NAME,
    schema_version=PROCESSING_SCHEMA_VERSION,
    of=ImageProcessing,
    with_all_keys=_with_all_keys,
    require_possible=_require_possible,
    takes="images",
)
