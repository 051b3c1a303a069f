"""`Origin`: how a matrix of the quantised checkpoint came to be what is stored.

Not about deciding it (`exporter.planning.decisions`) or doing it (`writer`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from exporter.checkpoints.files.tensor_values import FLOAT_DTYPES
from exporter.checkpoints.interface import CheckpointSource
from exporter.schemes import FloatScheme, Scheme

How = Literal["taken over", "requantised", "quantised", "dequantised", "kept as floats"]
"""taken over: the source's codes and scales unchanged. requantised: new codes found for values that come
from other codes. quantised: codes found for floating-point values. dequantised: codes turned into
floats. kept as floats: floats of the source stored as floats."""


@dataclass(frozen=True)
class Origin:
    """dtype: the source's own name of what it stored the matrix as ("Q4_0", "BF16")."""

    how: How
    dtype: str


def origins(
    source: CheckpointSource, schemes: Mapping[str, Scheme], taken_over: Collection[str]
) -> dict[str, Origin]:
    """For every matrix of `schemes`."""
    return {
        name: Origin(
            _how(source.tensors[name].dtype, scheme, name in taken_over), source.tensors[name].dtype
        )
        for name, scheme in schemes.items()
    }


def _how(dtype: str, scheme: Scheme, taken_over: bool) -> How:
    if taken_over:
        return "taken over"
    from_floats = dtype in FLOAT_DTYPES
    if isinstance(scheme, FloatScheme):
        return "kept as floats" if from_floats else "dequantised"
    return "quantised" if from_floats else "requantised"
