"""`ImageProcessing`: what is done to a picture before it enters a tower, as a release says it.

Written once, as `image_processing.json`: the driver here follows it, and so can any client. Not about doing
it, nor about what onnxruntime-genai, LiteRT-LM or transformers.js are told in files of their own.
"""

from __future__ import annotations

from dataclasses import dataclass

PROCESSING_NAME = "image_processing.json"
PROCESSING_SCHEMA_VERSION = 1


@dataclass(frozen=True)
class SquareProcessing:
    """Gemma 3: squashed to side x side, bilinear; (value / 255 - mean) / std by channel."""

    side: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True)
class PatchProcessing:
    """Gemma 4: scaled, bicubic, to the largest size of its aspect that has no more squares of kernel x
    kernel patches than soft tokens; value / 255. merged: a square is one row, not kernel * kernel."""

    patch_size: int
    kernel: int
    merged: bool


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
