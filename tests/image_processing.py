"""`ImageProcessing` of the families as published, for tests. Not about reading it of a checkpoint."""

from __future__ import annotations

from runtimes.images.processing import (
    PROCESSING_SCHEMA_VERSION,
    ImageMarks,
    ImageProcessing,
    PatchProcessing,
    SquareProcessing,
)

HALVES = (0.5, 0.5, 0.5)
GEMMA_3_MARKS = ImageMarks(262144, 255999, 256000, line_breaks=True, placeholder="<start_of_image>")
GEMMA_4_MARKS = ImageMarks(258880, 255999, 258882, line_breaks=False, placeholder="<|image|>")


def squashing(
    side: int = 896, soft_tokens: int = 256, marks: ImageMarks = GEMMA_3_MARKS
) -> ImageProcessing:
    """Gemma 3's."""
    square = SquareProcessing(side, HALVES, HALVES)
    return ImageProcessing(PROCESSING_SCHEMA_VERSION, soft_tokens, marks, square, None)


def patching(
    soft_tokens: int = 280, merged: bool = False, marks: ImageMarks = GEMMA_4_MARKS
) -> ImageProcessing:
    """Gemma 4's; merged for the 12B."""
    return ImageProcessing(
        PROCESSING_SCHEMA_VERSION, soft_tokens, marks, None, PatchProcessing(16, 3, merged)
    )
