"""`PackedMatrix`: a matrix of a compressed-tensors "pack-quantized" checkpoint, in three tensors.

    X.weight_packed  I32 [out, in * bits / 32]   offset-binary codes, first element in the low bits
    X.weight_scale   BF16, F16 or F32 [out, groups]
    X.weight_shape   I64 [2]                     out, in

Not about what config.json says of them (`quantization_config`) or about tensors that are floats.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from exporter.checkpoints.files.tensor_values import FLOAT_DTYPES, as_float32, require_finite
from exporter.checkpoints.huggingface.quantization_config import PackedLayout
from exporter.checkpoints.huggingface.weight_files import StoredTensor
from exporter.checkpoints.interface import Codes, CodeScales, HeldCodes, SourceTensor
from exporter.errors import CheckpointError

PACKED, SCALE, SHAPE = "_packed", "_scale", "_shape"
PACKED_DTYPES = {4: "int4 pack-quantized", 8: "int8 pack-quantized"}
SCALES_AT_ONCE = 8 << 20  # bytes


@dataclass(frozen=True)
class PackedMatrix:
    """value[o, i] = code[o, i] * scale[o, i // group]. shape: [out, in]."""

    name: str
    shape: tuple[int, int]
    layout: PackedLayout
    packed: StoredTensor
    scale: StoredTensor

    @property
    def tensor(self) -> SourceTensor:
        nbytes = self.packed.header.nbytes + self.scale.header.nbytes
        return SourceTensor(self.name, self.shape, PACKED_DTYPES[self.layout.bits], nbytes)

    @cached_property
    def held(self) -> HeldCodes:
        """Reads every scale once: whether fp16 has them exactly, and whether one is below 0."""
        exact, negative = True, False
        for scales in self._every_scale():
            exact = exact and _fp16_has(scales)
            negative = negative or bool((scales < 0).any())
        return HeldCodes(self.layout.bits, self.layout.group, 16 if exact else 32, negative)

    def codes(self, start: int, stop: int) -> tuple[Codes, CodeScales]:
        """Rows start to stop: codes [rows, in], scales [rows, groups] in the type `held` says."""
        row = self.packed.header.nbytes // self.shape[0]
        raw = np.frombuffer(self.packed.read(start * row, (stop - start) * row), np.uint8)
        if self.layout.bits == 4:
            raw = np.stack([raw & np.uint8(0x0F), raw >> np.uint8(4)], axis=-1).reshape(-1)
        codes = raw.view(np.int8) - np.int8(8) if self.layout.bits == 4 else (raw ^ 0x80).view(np.int8)
        scales = self._scales(start, stop)
        kept: CodeScales = scales.astype(np.float16) if self.held.scale_bits == 16 else scales
        return codes.reshape(stop - start, self.shape[1]), kept

    def values(self, start: int, stop: int) -> NDArray[np.float32]:
        """Rows start to stop in float32, [rows, in]. Exact for scales of 16 bits."""
        codes, scales = self.codes(start, stop)
        values = codes.astype(np.float32)
        values.reshape(*scales.shape, -1)[...] *= scales.astype(np.float32)[:, :, None]
        return values

    def _scales(self, start: int, stop: int) -> NDArray[np.float32]:
        header = self.scale.header
        row = header.nbytes // self.shape[0]
        raw = self.scale.read(start * row, (stop - start) * row)
        scales = as_float32(raw, header.dtype, f"{self.scale.file.path}: {header.name}")
        scales = scales.reshape(stop - start, -1)
        require_finite(scales, self.scale.file.path, header.name, start)
        return scales

    def _every_scale(self) -> Iterator[NDArray[np.float32]]:
        step = max(1, SCALES_AT_ONCE * self.shape[0] // self.scale.header.nbytes)
        for start in range(0, self.shape[0], step):
            yield self._scales(start, min(self.shape[0], start + step))


def take_packed(
    stored: MutableMapping[str, StoredTensor], layouts: tuple[PackedLayout, ...]
) -> dict[str, PackedMatrix]:
    """Move the packed matrices out of `stored`, by the name they would have as one tensor.

    Raises CheckpointError for tensors that are missing or do not fit together.
    """
    names = [name.removesuffix(PACKED) for name in stored if name.endswith(f".weight{PACKED}")]
    return {name: _taken(stored, name, layouts) for name in names}


def whole_shapes(stored: Mapping[str, StoredTensor]) -> dict[str, tuple[int, ...]]:
    """Shapes that count parameters: a packed tensor's is its matrix's, what lies beside it has none."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, tensor in stored.items():
        matrix = next(
            (name.removesuffix(part) for part in (PACKED, SCALE, SHAPE) if name.endswith(part)), ""
        )
        if f"{matrix}{PACKED}" not in stored or f"{matrix}{SHAPE}" not in stored:
            shapes[name] = tensor.header.shape
        else:
            shapes[name] = _shape(stored[f"{matrix}{SHAPE}"]) if name.endswith(PACKED) else (0,)
    return shapes


def _taken(
    stored: MutableMapping[str, StoredTensor], name: str, layouts: tuple[PackedLayout, ...]
) -> PackedMatrix:
    packed = stored.pop(f"{name}{PACKED}")
    missing = [part for part in (SCALE, SHAPE) if f"{name}{part}" not in stored]
    if missing:
        raise CheckpointError(
            packed.file.path,
            f"tensor {name}{missing[0]} is missing",
            "the download is incomplete, fetch it again",
        )
    scale, shape = stored.pop(f"{name}{SCALE}"), _shape(stored.pop(f"{name}{SHAPE}"))
    layout = next((layout for layout in layouts if _fits(layout, shape, packed, scale)), None)
    if layout is None:
        raise CheckpointError(
            packed.file.path,
            f"matrix {name} {list(shape)} has {packed.header.dtype} codes {list(packed.header.shape)} and "
            f"{scale.header.dtype} scales {list(scale.header.shape)}, as no group of config.json would",
            "weights and configuration are of different models; fetch both again",
        )
    return PackedMatrix(name, shape, layout, packed, scale)


def _shape(tensor: StoredTensor) -> tuple[int, int]:
    if (tensor.header.dtype, tensor.header.shape) != ("I64", (2,)):
        raise CheckpointError(
            tensor.file.path, f"tensor {tensor.header.name} is not two I64 numbers", "fetch it again"
        )
    out, inputs = np.frombuffer(tensor.read(0, 16), "<i8").tolist()
    return out, inputs


def _fits(layout: PackedLayout, shape: tuple[int, int], packed: StoredTensor, scale: StoredTensor) -> bool:
    out, inputs = shape
    group = inputs if layout.group is None else layout.group
    if inputs <= 0 or inputs % group or inputs * layout.bits % 32:
        return False
    return (
        packed.header.dtype == "I32"
        and packed.header.shape == (out, inputs * layout.bits // 32)
        and scale.header.dtype in FLOAT_DTYPES
        and scale.header.shape == (out, inputs // group)
    )


def _fp16_has(scales: NDArray[np.float32]) -> bool:
    with np.errstate(over="ignore"):  # infinity is unequal
        return bool(np.array_equal(scales.astype(np.float16), scales))
