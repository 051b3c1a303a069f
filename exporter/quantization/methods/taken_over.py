"""`TakenOver`: the codes and scales a source holds already, as they are.

Not about which matrices (`exporter.planning.decisions`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from exporter.checkpoints.interface import CheckpointSource, Codes, CodeScales
from exporter.errors import PlanError
from exporter.quantization.methods.interface import FoundCodes, InputMoments, MatrixRows, MethodRecord
from exporter.quantization.methods.scale_search import ZERO_GROUP_SCALE
from exporter.schemes import IntegerScheme, Scheme, scheme_holding


@dataclass(frozen=True)
class TakenOver:
    """Satisfies `Method` for matrices of the scheme their source holds them in."""

    @property
    def looks_at_products(self) -> bool:
        return False

    @property
    def record(self) -> MethodRecord:
        return MethodRecord("taken over", 1, {})

    def tile(self, inputs: int) -> int:
        return 1

    def find(self, rows: MatrixRows, scheme: IntegerScheme, moments: InputMoments | None) -> FoundCodes:
        return without_zero_scales(*rows.held())


def without_zero_scales(codes: Codes, scales: CodeScales) -> FoundCodes:
    """The same values with no scale of 0, which XNNPACK refuses: such a group gets codes of 0 instead."""
    empty = scales == 0
    if not empty.any():
        return FoundCodes(codes, scales, None)
    kept = np.repeat(~empty, codes.shape[1] // scales.shape[1], axis=1)
    positive = np.where(empty, scales.dtype.type(ZERO_GROUP_SCALE), scales)
    return FoundCodes(codes * kept, positive, None)


def require_held(source: CheckpointSource, schemes: Mapping[str, Scheme], names: Collection[str]) -> None:
    """Raise PlanError unless the source holds each of these matrices in its scheme."""
    holds = source.held
    for name in sorted(names):
        held = holds.get(name)
        if held is None or scheme_holding(held) != schemes[name]:
            raise PlanError(
                name,
                f"the plan takes its codes over as {schemes[name].name}, which the source does not hold",
                "plan again with this source",
            )
