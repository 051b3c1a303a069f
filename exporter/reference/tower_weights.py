"""`TowerWeights`: a tower's weights as transformers' modules have them, read from canonical ones.

A checkpoint's weights carry one form for every family (`exporter.models.vision.spec`,
`exporter.models.audio.spec`); transformers stores a convolution in four dimensions, one along time with its
taps side by side, Gemma 3's projector the other way round, both tables of positions as one tensor and
bounds without a dimension. Not about which modules there are (`reference_tower`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from exporter.reference.weights import ReferenceWeights

CONVOLUTIONS = ("embeddings.patch_embedding.weight", ".conv.weight")
TAPS = "depthwise_conv1d.weight"
TRANSPOSED = "mm_input_projection_weight"
TABLES = {"patch_embedder.position_embedding_table": 0, "vision_embedder.pos_embedding": 1}
"""How a name ends, to the dimension along which x and y lie."""
AXES = ("x", "y")
INNER = "vision_tower.vision_model."  # older transformers wrap the tower once more


@dataclass(frozen=True)
class TowerWeights:
    """canonical: what `ReferenceWeights.rows` of a canonical name gives. shapes: of transformers' tensors,
    by their names. Satisfies `ReferenceWeights`, as far as a tower has it lent."""

    canonical: ReferenceWeights
    shapes: Mapping[str, tuple[int, ...]]

    @property
    def description(self) -> str:
        return self.canonical.description

    @property
    def architecture(self) -> Mapping[str, Any]:
        return self.canonical.architecture

    def rows(self, name: str, start: int, stop: int) -> Tensor:
        own, shape = canonical_name(name), self.shapes[name]
        for end, along in TABLES.items():
            if name.endswith(end):
                return self._tables(own, shape, along, start, stop)
        if name.endswith(TAPS):
            taps = [self.canonical.rows(canonical_name(name, tap), start, stop) for tap in range(shape[-1])]
            return torch.stack(taps, -1)[:, None]
        if name.endswith(TRANSPOSED):
            return self.canonical.rows(own, 0, shape[1])[:, start:stop].T
        return self.canonical.rows(own, start, stop).reshape(stop - start, *shape[1:])

    def gather(self, name: str, wanted: Sequence[int]) -> Tensor:
        return self.canonical.gather(canonical_name(name), wanted)

    def _tables(self, own: str, shape: tuple[int, ...], along: int, start: int, stop: int) -> Tensor:
        if along == 0:
            return torch.stack(
                [self.canonical.rows(f"{own}.{axis}", 0, shape[1]) for axis in AXES[start:stop]]
            )
        return torch.stack([self.canonical.rows(f"{own}.{axis}", start, stop) for axis in AXES], 1)


def canonical_name(name: str, tap: int | None = None) -> str:
    """Of a tensor of transformers' modules; of both tables of positions what theirs begin with. tap: which
    of a convolution along time."""
    if tap is not None:
        return f"{name.removesuffix('weight')}{tap}"
    return name.replace(INNER, "vision_tower.").replace("projection_weight", "projection.weight")
