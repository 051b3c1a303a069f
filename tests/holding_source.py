"""`HoldingSource`: a tiny random Gemma whose matrices are integer codes already, as some GGUF has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import gguf
import numpy as np
from gguf.constants import GGMLQuantizationType
from numpy.typing import NDArray

from exporter.checkpoints.gguf.blocks import HELD, codes_and_scales
from exporter.checkpoints.interface import Codes, CodeScales, HeldCodes, SourceTensor
from exporter.models.text.spec import Role
from tests.tiny import RandomSource


@dataclass(frozen=True)
class HoldingSource(RandomSource):
    """Linears take the kinds in turn; others is for the rest, None for floats. Scales have either sign."""

    kinds: tuple[str, ...] = ("Q4_0",)
    others: str | None = None
    stored: dict[str, tuple[str, Codes, CodeScales]] = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        matrices = [weight for weight in self.components["text"].weights if weight.is_matrix]
        linears = [weight.name for weight in matrices if weight.role is Role.LINEAR]
        given = {name: self.kinds[i % len(self.kinds)] for i, name in enumerate(linears)}
        if self.others is not None:
            given |= {weight.name: self.others for weight in matrices if weight.name not in given}
        stored = {}
        for name, kind in given.items():
            codes, scales = as_blocks(self.weights[name], kind)
            stored[name] = (kind, codes, scales)
            self.weights[name] = dequantised(codes, scales)
        object.__setattr__(self, "stored", stored)

    @property
    def tensors(self) -> dict[str, SourceTensor]:
        kinds = {name: kind for name, (kind, _, _) in self.stored.items()}
        return {
            name: SourceTensor(name, values.shape, kinds.get(name, "F32"), values.nbytes)
            for name, values in self.weights.items()
        }

    @property
    def held(self) -> Mapping[str, HeldCodes]:
        return {name: HELD[GGMLQuantizationType[kind]] for name, (kind, _, _) in self.stored.items()}

    def codes(self, name: str, start: int, stop: int) -> tuple[Codes, CodeScales]:
        _, codes, scales = self.stored[name]
        return codes[start:stop], scales[start:stop]

    def digests(self) -> dict[str, str]:
        return {"seed": str(self.seed), "kinds": " ".join(self.kinds), "others": str(self.others)}


def as_blocks(values: NDArray[np.float32], kind: str) -> tuple[Codes, CodeScales]:
    """Codes and scales that are near the values and could lie in a GGUF of this type."""
    if kind != "Q6_K":  # the package has no writer of K-types
        number = GGMLQuantizationType[kind]
        return codes_and_scales(gguf.quantize(values, number), number)
    groups = values.reshape(len(values), -1, 16)
    at = np.abs(groups).argmax(axis=-1)[..., None]
    wanted = np.take_along_axis(groups, at, -1)[..., 0] / np.float32(-32)
    factor = np.abs(wanted).max(axis=-1, keepdims=True) / np.float32(-128)
    factor = factor.astype(np.float16).astype(np.float32)
    scales = (np.rint(wanted / factor).clip(-128, 127) * factor).astype(np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        near = np.nan_to_num(groups / scales[..., None]).clip(-32, 31)
    return np.rint(near).astype(np.int8).reshape(values.shape), scales


def dequantised(codes: Codes, scales: CodeScales) -> NDArray[np.float32]:
    """code * scale, [rows, in]."""
    grouped = codes.reshape(*scales.shape, -1).astype(np.float32) * scales.astype(np.float32)[..., None]
    return grouped.reshape(codes.shape)
