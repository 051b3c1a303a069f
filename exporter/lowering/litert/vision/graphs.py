"""The models of a bundle that images go through, as LiteRT-LM calls them.

    encoder, Gemma 3    images [1, side, side, 3] float32 in [0, 1], to features [1, patches, width]
    encoder, Gemma 4    images [1, patches, numbers in each] float32 in [0, 1] and positions_xy [1, patches,
                        2] int32, behind the picture 0 and -1; to features [1, n, width] and mask [1, n]
                        bool, true for those that are of the picture
    adapter             soft_tokens, as features are, to mm_embedding [1, n, hidden]; for Gemma 3 with the
                        token that ends an image behind them, [1, n + 1, hidden]
    end of vision       nothing, to eoi_embedding [1, 1, hidden]

12B's encoder gives rows for the text model itself and has no adapter. Not about where in a bundle they lie
(`vision.sections`).
"""

from __future__ import annotations

from typing import assert_never

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from exporter.errors import LoweringError
from exporter.lowering.interface import ImageOrder
from exporter.lowering.litert.signatures import LiteRtGraph
from exporter.lowering.litert.tower_model import TowerModel, build_end
from exporter.lowering.litert.tracing import ArithmeticTracer
from exporter.lowering.litert.vision.dialect import LiteRtVision
from exporter.models.vision.patch_embedder import patch_embedder_rows
from exporter.models.vision.patch_tower import patch_tower_features, patch_tower_rows
from exporter.models.vision.places import known_places
from exporter.models.vision.siglip import siglip_features, siglip_rows
from exporter.models.vision.spec import (
    CHANNELS,
    PatchEmbedderSpec,
    PatchTowerSpec,
    SiglipSpec,
)
from exporter.quantization.store.checkpoint import StoredVision
from runtimes.litert.image_models import (
    ADAPTED,
    ADAPTER_SIGNATURE,
    ENCODER_SIGNATURE,
    END,
    END_SIGNATURE,
    FEATURES,
    IMAGES,
    PATCH_MASK,
    PATCH_POSITIONS,
    SOFT_TOKENS,
)

CENTRE = 0.5


def build_encoder(vision: StoredVision, order: ImageOrder) -> LiteRtGraph:
    """The tower, for pictures of as many soft tokens as are ordered."""
    made = _Model(vision, f"{ENCODER_SIGNATURE}{order.soft_tokens}", order.soft_tokens)
    match vision.spec:
        case SiglipSpec() as spec:
            require_centred(order)
            outputs = made.siglip(spec)
        case PatchTowerSpec() as spec:
            outputs = made.patch_tower(spec)
        case PatchEmbedderSpec() as spec:
            outputs = made.patch_embedder(spec)
        case _:
            assert_never(vision.spec)
    return made.finish(outputs)


def build_adapter(vision: StoredVision, order: ImageOrder, end: NDArray[np.float32]) -> LiteRtGraph | None:
    """What makes rows of features; None where the encoder gives them. end: [hidden]."""
    made = _Model(vision, f"{ADAPTER_SIGNATURE}{order.soft_tokens}", order.soft_tokens)
    match vision.spec:
        case SiglipSpec() as spec:
            features = made.input(SOFT_TOKENS, (1, spec.side**2, spec.hidden_size))
            with ArithmeticTracer(made.ops):
                rows = siglip_rows(spec, made.dialect, features)
            last = made.graph.constant(end.reshape(1, 1, -1))
            return made.finish({ADAPTED: made.ops.concatenate([rows, last], axis=1)})
        case PatchTowerSpec() as spec:
            features = made.input(SOFT_TOKENS, (1, order.soft_tokens, spec.hidden_size))
            with ArithmeticTracer(made.ops):
                rows = patch_tower_rows(spec, made.dialect, features)
            return made.finish({ADAPTED: rows})
        case PatchEmbedderSpec():
            return None
        case _:
            assert_never(vision.spec)


def build_end_of_vision(end: NDArray[np.float32]) -> LiteRtGraph:
    """end: [hidden], as the decoder takes it."""
    return build_end(END_SIGNATURE, END, end)


class _Model(TowerModel):
    """One model of an image tower."""

    def __init__(self, vision: StoredVision, signature: str, soft_tokens: int) -> None:
        super().__init__(vision, signature)
        self.soft_tokens = soft_tokens
        furthest = known_places(vision.spec, soft_tokens)
        self.dialect = LiteRtVision(self.ops, self.linears, vision.vectors, furthest)

    def siglip(self, spec: SiglipSpec) -> dict[str, Tensor]:
        side, ops = spec.image_size, self.ops
        pixels = self.input(IMAGES, (1, side, side, CHANNELS))
        pixels = ops.subtract(ops.multiply(pixels, 2.0), 1.0)
        with ArithmeticTracer(ops):
            return {FEATURES: siglip_features(spec, self.dialect, pixels)}

    def patch_tower(self, spec: PatchTowerSpec) -> dict[str, Tensor]:
        patches, length = self.soft_tokens * spec.kernel**2, self.soft_tokens
        pixels, positions = self._patches(patches, spec.patch_width)
        with ArithmeticTracer(self.ops):
            features = patch_tower_features(spec, self.dialect, pixels, positions, length)
        inside = self.ops.largest(self.dialect.in_square(positions, spec.kernel, length))
        return {FEATURES: features, PATCH_MASK: self._true(inside)}

    def patch_embedder(self, spec: PatchEmbedderSpec) -> dict[str, Tensor]:
        squares, positions = self._patches(self.soft_tokens, spec.patch_width)
        with ArithmeticTracer(self.ops):
            rows = patch_embedder_rows(spec, self.dialect, squares, positions)
        return {FEATURES: rows, PATCH_MASK: self._true(self.dialect.present(positions))}

    def _patches(self, count: int, width: int) -> tuple[Tensor, Tensor]:
        pixels = self.input(IMAGES, (1, count, width))
        return pixels, self.input(PATCH_POSITIONS, (1, count, 2), torch.int32)

    def _true(self, inside: Tensor) -> Tensor:
        """[1, n, 1] of 0 and 1 as bool [1, n]."""
        return self.ops.greater_equal(self.ops.reshape(inside, [1, self.soft_tokens]), 0.5)


def require_centred(order: ImageOrder) -> None:
    """LiteRT-LM gives values in [0, 1]; the graph makes [-1, 1] of them, which is all that is known.

    Raises LoweringError for pictures that are normalised otherwise.
    """
    square = order.processing.square
    if square is None or {*square.mean, *square.std} != {CENTRE}:
        raise LoweringError(
            "LiteRT",
            f"pictures are normalised as {square}, and this tower's graph makes [-1, 1] of them",
            f"give a processor file whose image_mean and image_std are {CENTRE}",
        )
