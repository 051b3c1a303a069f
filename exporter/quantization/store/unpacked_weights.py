"""`UnpackedWeights`: the quantised checkpoint as the reference borrows it, read by compressed-tensors.

Unpacking and arithmetic are the library's, not ours, so that the reference stays independent of what is
shipped. Satisfies `exporter.reference.weights.ReferenceWeights`. Not about our own reading (`checkpoint`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from compressed_tensors.compressors.pack_quantized import PackedQuantizationCompressor
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme, QuantizationStrategy
from safetensors import safe_open
from torch import Tensor

from exporter.errors import ReferenceModelError
from exporter.models.text.spec import Role
from exporter.quantization.store.checkpoint import QuantizedCheckpoint
from exporter.quantization.store.layout import (
    PACKED,
    SCALE,
    SHAPE,
    VECTORS_NAME,
    ZERO_POINT,
    matrix_file_name,
)
from exporter.quantization.store.packing import rows_per_word
from exporter.schemes import SCHEMES, IntegerScheme


@dataclass(frozen=True)
class UnpackedWeights:
    """The quantised checkpoint, its integers unpacked and multiplied by compressed-tensors.

    Read by row range instead of through transformers' loader, which cannot take a quantised tied
    embedding (5.23) and would hold every weight at once; a parity test holds the two together. An image
    tower's weights are read by their names too.
    """

    checkpoint: QuantizedCheckpoint

    @property
    def description(self) -> str:
        return "transformers, quantised checkpoint"

    @property
    def architecture(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.checkpoint.record["architecture"]
        return found

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {
            weight.name: weight.shape
            for weight in self.checkpoint.components["text"].spec.weights()
            if weight.role is not Role.COLUMNS  # transformers has none: they are multiplied in below
        }

    def rows(self, name: str, start: int, stop: int) -> Tensor:
        (found,) = self._read(name, [(start, stop)])
        return found

    def gather(self, name: str, wanted: Sequence[int]) -> Tensor:
        return torch.cat(list(self._read(name, [(row, row + 1) for row in wanted])))

    def _read(self, name: str, ranges: Sequence[tuple[int, int]]) -> Iterator[Tensor]:
        for tower in self.checkpoint.towers:
            if name in tower.vectors:  # float32, as they are
                yield from (torch.from_numpy(tower.vectors[name][a:b].copy()) for a, b in ranges)
                return
        label = self.checkpoint.record["schemes"].get(name)
        columns = torch.from_numpy(self.checkpoint.components["text"].columns(name).copy())
        file = VECTORS_NAME if label is None else matrix_file_name(name)
        # The library maps the file: only pages of the rows asked for are touched, and all are let go here.
        with safe_open(self.checkpoint.directory / file, framework="pt") as opened:
            scheme = None if label is None else SCHEMES[label]
            for start, stop in ranges:
                if isinstance(scheme, IntegerScheme):
                    yield _unpacked(opened, name, start, stop, scheme) * columns
                else:
                    yield opened.get_slice(name)[start:stop].float() * columns


def _unpacked(opened: Any, name: str, start: int, stop: int, scheme: IntegerScheme) -> Tensor:
    """Rows start to stop of a matrix of codes, [rows, in] float32."""
    inputs = int(opened.get_tensor(f"{name}{SHAPE}")[1])
    if not scheme.zero_points:
        packed = opened.get_slice(f"{name}{PACKED}")[start:stop]
        scale = opened.get_slice(f"{name}{SCALE}")[start:stop].float()
        return _decompress(packed, scale, None, inputs, scheme)
    # Zero points of several rows share a word: whole words are handed to the library.
    per = rows_per_word(scheme.bits)
    first = start // per
    packed = opened.get_slice(f"{name}{PACKED}")[first * per : stop]
    scale = opened.get_slice(f"{name}{SCALE}")[first * per : stop].float()
    zero_point = opened.get_slice(f"{name}{ZERO_POINT}")[first : -(-stop // per)]
    # compressed-tensors 0.20 fails on one word a group unless those lie side by side as columns too.
    zero_point = zero_point.T.clone(memory_format=torch.contiguous_format).T
    return _decompress(packed, scale, zero_point, inputs, scheme)[start - first * per :]


def _decompress(
    packed: Tensor, scale: Tensor, zero_point: Tensor | None, inputs: int, scheme: IntegerScheme
) -> Tensor:
    """The library's own reading of rows of a "pack-quantized" matrix, [rows, in] float32."""
    grouped = QuantizationStrategy.CHANNEL if scheme.group is None else QuantizationStrategy.GROUP
    arguments = QuantizationArgs(
        num_bits=scheme.bits, symmetric=not scheme.zero_points, strategy=grouped, group_size=scheme.group
    )
    state = {
        "weight_packed": packed,
        "weight_scale": scale,
        "weight_shape": torch.tensor([packed.shape[0], inputs]),
    }
    if zero_point is not None:
        state["weight_zero_point"] = zero_point
    found = PackedQuantizationCompressor.decompress(
        state, QuantizationScheme(targets=["Linear"], weights=arguments)
    )["weight"]
    if not isinstance(found, Tensor) or found.dtype is not torch.float32:
        raise ReferenceModelError(
            "compressed-tensors",
            "did not decompress to float32",
            "install the version pyproject.toml names",
        )
    return found
