"""Which places of a picture's patches a tower knows.

Position tables of published towers are far longer than any picture. One that is shorter is read beyond its
end by a long, narrow picture, which transformers and ONNX Runtime refuse and other runtimes need not: a
release says where its tower's end is. Not about what the tables hold (`spec`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from exporter.models.vision.spec import PatchEmbedderSpec, PatchTowerSpec, SiglipSpec, VisionSpec
from runtimes.images.processing import ImageProcessing


def places_in_a_row(spec: VisionSpec, soft_tokens: int) -> int:
    """How many patches in a row a picture of so many soft tokens can have: all its squares may stand in
    one."""
    match spec:
        case SiglipSpec():
            return spec.side
        case PatchTowerSpec():
            return spec.kernel * soft_tokens
        case PatchEmbedderSpec():
            return soft_tokens
        case _:
            assert_never(spec)


def known_places(spec: VisionSpec, soft_tokens: int) -> int:
    """Those of them that the tower has positions for."""
    needed = places_in_a_row(spec, soft_tokens)
    return needed if isinstance(spec, SiglipSpec) else min(spec.positions, needed)


def with_soft_tokens(processing: ImageProcessing, spec: VisionSpec, soft_tokens: int) -> ImageProcessing:
    """What is done to pictures of so many soft tokens at most, with the end of the tower's position tables
    where a picture can go beyond it."""
    known, needed = known_places(spec, soft_tokens), places_in_a_row(spec, soft_tokens)
    patches = processing.patches
    if patches is not None:
        patches = replace(patches, places=known if known < needed else None)
    return replace(processing, soft_tokens=soft_tokens, patches=patches)
