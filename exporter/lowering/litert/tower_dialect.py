"""`LiteRtTower`: what towers of images and of sounds have in common in LiteRT's operations.

Not about how weights are stored (`storage`) or either kind of tower (`vision.dialect`, `audio.dialect`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from exporter.lowering.litert.linears import Linears, root_mean_square_normed
from exporter.lowering.litert.tower_operations import TowerOperations
from exporter.models.vision.spec import BOUNDS


@dataclass
class LiteRtTower:
    """vectors: weights that are no matrices, by name."""

    ops: TowerOperations
    linears: Linears
    vectors: Mapping[str, NDArray[np.float32]]

    def project(self, x: Tensor, weight: str, bias: str | None = None, clip: str | None = None) -> Tensor:
        if clip is None:
            (y,) = self.linears.project(x, (weight,))
            return y if bias is None else self.ops.add(y, self.vector(bias))
        lowest, highest, least, most = (float(self.vectors[f"{clip}.{bound}"][0]) for bound in BOUNDS)
        (y,) = self.linears.project(self.ops.between(x, lowest, highest), (weight,))
        return self.ops.between(y, least, most)

    def vector(self, name: str) -> Tensor:
        return self.ops.graph.constant(self.vectors[name], name)

    def centred(self, x: Tensor, eps: float) -> Tensor:
        """LayerNorm over the last axis, without gain and bias."""
        return root_mean_square_normed(self.ops, self.ops.subtract(x, self.ops.mean(x)), eps)
