"""From an image tower to a Core ML program of one function.

    pixels       [1, 3, side, side] in [-1, 1] of Gemma 3; of Gemma 4 [1, patches, numbers in each] in
                 [0, 1], no row of padding, the patches of each square one after the other
    positions    Gemma 4 alone: int32 [1, patches, 2], x and y of each patch
    imageRows    [1, soft tokens, hidden], squares row by row, as the decoder's `inputEmbeds` take them

Not about how a module becomes a program (`traced_program`) or what is done to a picture before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import assert_never

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from exporter.lowering.coreml.graph_nodes import more_rows
from exporter.lowering.coreml.tower_dialect import TowerConstants
from exporter.lowering.coreml.traced_program import ConvertedProgram, Input, Length, Traceable, to_program
from exporter.lowering.coreml.vision_dialect import CoreMlVision, rotations
from exporter.models.text.spec import Role
from exporter.models.vision.siglip import siglip_features, siglip_rows
from exporter.models.vision.spec import CHANNELS, PatchEmbedderSpec, PatchTowerSpec, SiglipSpec, VisionSpec
from exporter.models.vision.tower import image_rows

PIXELS, POSITIONS, ROWS = "pixels", "positions", "imageRows"

# A trace keeps every value in it: pictures are traced small. Squares, where there may be any number;
# patches along a side, where there are as many as the tower has places.
TRACED_SQUARES, TRACED_SIDE = 2, 2


def convert_tower(
    spec: VisionSpec, vectors: Mapping[str, NDArray[np.float32]], soft_tokens: int
) -> ConvertedProgram:
    """soft_tokens: of one picture, at most. Takes seconds, whatever a picture's size."""
    matrices = {weight.name: weight.shape for weight in spec.weights() if weight.is_matrix}
    traced = {}
    if isinstance(spec, SiglipSpec):
        traced = {
            weight.name: (TRACED_SIDE**2, spec.hidden_size)
            for weight in spec.weights()
            if weight.role is Role.POSITIONS
        }
    module = _Tower(spec, TowerConstants.of(vectors, _every_eps(spec)), tuple(matrices))
    return to_program(Traceable(module, _inputs(spec, soft_tokens), matrices, {}, (ROWS,), traced))


class _Tower(torch.nn.Module):
    """The tower as a module: matrices come in as arguments behind the picture."""

    def __init__(self, spec: VisionSpec, constants: TowerConstants, names: tuple[str, ...]) -> None:
        super().__init__()
        self._spec, self._constants, self._names = spec, constants, names
        self._turns = None
        if isinstance(spec, PatchTowerSpec):
            self._turns = rotations(spec.positions, spec.head_dim, spec.theta)

    def forward(self, pixels: Tensor, *given: Tensor) -> Tensor:
        spec = self._spec
        if isinstance(spec, SiglipSpec):
            ops = self._ops(given)
            features = siglip_features(spec, ops, pixels)
            return siglip_rows(spec, ops, more_rows(features, spec.side**2))
        positions, *matrices = given
        return image_rows(spec, self._ops(matrices), pixels, positions, TRACED_SQUARES)

    def _ops(self, matrices: Sequence[Tensor]) -> CoreMlVision:
        given = dict(zip(self._names, matrices, strict=True))
        return CoreMlVision(given, self._constants, self._turns)


def _inputs(spec: VisionSpec, soft_tokens: int) -> tuple[Input, ...]:
    match spec:
        case SiglipSpec():
            side = TRACED_SIDE * spec.patch_size
            shape = (1, CHANNELS, spec.image_size, spec.image_size)
            return (Input(PIXELS, torch.zeros((1, CHANNELS, side, side)), shape),)
        case PatchTowerSpec():
            return _patches(spec.kernel**2, spec.patch_width, soft_tokens)
        case PatchEmbedderSpec():
            return _patches(1, spec.patch_width, soft_tokens)
        case _:
            assert_never(spec)


def _patches(square: int, width: int, soft_tokens: int) -> tuple[Input, ...]:
    """square: patches in one."""
    most, traced = square * soft_tokens, square * TRACED_SQUARES
    patches = Length("patches", square, most, default=most)
    return (
        Input(PIXELS, torch.zeros((1, traced, width)), (1, patches, width)),
        Input(POSITIONS, torch.zeros((1, traced, 2), dtype=torch.int32), (1, patches, 2)),
    )


def _every_eps(spec: VisionSpec) -> Iterator[float]:
    yield spec.norm_eps
    match spec:
        case SiglipSpec():
            yield spec.projector_eps
        case PatchEmbedderSpec():
            yield spec.layer_norm_eps
        case PatchTowerSpec():
            pass
        case _:
            assert_never(spec)
