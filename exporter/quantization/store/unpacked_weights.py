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
from exporter.quantization.store.checkpoint import VECTORS_NAME, QuantizedCheckpoint, matrix_file_name
from exporter.schemes import SCHEMES, IntegerScheme


@dataclass(frozen=True)
class UnpackedWeights:
    """The quantised checkpoint, its integers unpacked and multiplied by compressed-tensors.

    Read by row range instead of through transformers' loader, which cannot take a quantised tied
    embedding (5.23) and would hold every weight at once; a parity test holds the two together.
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
            for weight in self.checkpoint.spec.weights()
            if weight.role is not Role.COLUMNS  # transformers has none: they are multiplied in below
        }

    def rows(self, name: str, start: int, stop: int) -> Tensor:
        (found,) = self._read(name, [(start, stop)])
        return found

    def gather(self, name: str, wanted: Sequence[int]) -> Tensor:
        return torch.cat(list(self._read(name, [(row, row + 1) for row in wanted])))

    def _read(self, name: str, ranges: Sequence[tuple[int, int]]) -> Iterator[Tensor]:
        label = self.checkpoint.record["schemes"].get(name)
        columns = torch.from_numpy(self.checkpoint.columns(name).copy())
        file = VECTORS_NAME if label is None else matrix_file_name(name)
        # The library maps the file: only pages of the rows asked for are touched, and all are let go here.
        with safe_open(self.checkpoint.directory / file, framework="pt") as opened:
            scheme = None if label is None else SCHEMES[label]
            for start, stop in ranges:
                if isinstance(scheme, IntegerScheme):
                    packed = opened.get_slice(f"{name}_packed")[start:stop]
                    scale = opened.get_slice(f"{name}_scale")[start:stop].float()
                    inputs = int(opened.get_tensor(f"{name}_shape")[1])
                    yield _decompress(packed, scale, inputs, scheme) * columns
                else:
                    yield opened.get_slice(name)[start:stop].float() * columns


def _decompress(packed: Tensor, scale: Tensor, inputs: int, scheme: IntegerScheme) -> Tensor:
    """The library's own reading of rows of a "pack-quantized" matrix, [rows, in] float32."""
    grouped = QuantizationStrategy.CHANNEL if scheme.group is None else QuantizationStrategy.GROUP
    arguments = QuantizationArgs(
        num_bits=scheme.bits, symmetric=True, strategy=grouped, group_size=scheme.group
    )
    state = {
        "weight_packed": packed,
        "weight_scale": scale,
        "weight_shape": torch.tensor([packed.shape[0], inputs]),
    }
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
