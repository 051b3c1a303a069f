"""`image_rows`: an image tower of whichever kind, from what a processor made of a picture to rows for the
text model. What a client wants in two halves has them in the modules of each kind."""

from __future__ import annotations

from typing import assert_never

from torch import Tensor

from exporter.models.vision.dialect import Positions, VisionDialect
from exporter.models.vision.patch_embedder import patch_embedder_rows
from exporter.models.vision.patch_tower import patch_tower_features, patch_tower_rows
from exporter.models.vision.siglip import siglip_features, siglip_rows
from exporter.models.vision.spec import PatchEmbedderSpec, PatchTowerSpec, SiglipSpec, VisionSpec


def image_rows(
    spec: VisionSpec, ops: VisionDialect, pixels: Tensor, positions: Positions | None, length: int
) -> Tensor:
    """[1, length, text_hidden], not scaled as embeddings of tokens are.

    pixels: of a SigLIP in [-1, 1], of the others patches in [0, 1]. positions: of patches, None for a
    SigLIP. length: soft tokens that come out.
    """
    match spec:
        case SiglipSpec():
            return siglip_rows(spec, ops, siglip_features(spec, ops, pixels))
        case PatchTowerSpec():
            features = patch_tower_features(spec, ops, pixels, positions, length)
            return patch_tower_rows(spec, ops, features)
        case PatchEmbedderSpec():
            return patch_embedder_rows(spec, ops, pixels, positions)
        case _:
            assert_never(spec)
