"""llama.cpp's mixes: which tensor of a Gemma gets which type, and the weights that come of it.

The policy is llama.cpp's (src/llama-quant.cpp of llama-cpp-python 0.3.36), said again for one architecture
without experts; `python -m benchmarks.quality` refuses to run unless Q4_K_M comes out as the sample's own
file has it. An importance matrix is what llama.cpp's is: the mean square of each input of a linear over
calibration text, none for the embedding. Not about calling the library (`ggml_library`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.ggml_library import Bytes, GgmlLibrary
from benchmarks.importance import Importance
from exporter.checkpoints.interface import CheckpointSource
from exporter.models.text.spec import ModelSpec, Role, WeightSpec

# What a mix gives where nothing below says otherwise.
MIXES = {"Q4_0": "Q4_0", "IQ4_XS": "IQ4_XS", "Q4_K_M": "Q4_K", "Q5_K_M": "Q5_K", "Q8_0": "Q8_0"}
# What takes a type's place where a row is no multiple of its block of 256.
FALLBACKS = {"IQ4_XS": "IQ4_NL", "Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}


@dataclass(frozen=True)
class Mix:
    """name: one of MIXES. important: whether there is an importance matrix, which changes types too."""

    name: str
    important: bool

    def type_of(self, spec: ModelSpec, weight: WeightSpec, library: GgmlLibrary) -> str:
        """The type of one weight."""
        if not weight.is_matrix:
            return "F32"
        wanted = self._wanted(spec, weight)
        return wanted if weight.shape[1] % library.block(wanted) == 0 else FALLBACKS[wanted]

    def _wanted(self, spec: ModelSpec, weight: WeightSpec) -> str:
        usual = MIXES[self.name]
        if weight.role in (Role.EMBEDDING, Role.HEAD):
            # Only where it is the head too is the embedding worth more; all our models tie it.
            return usual if usual == "Q8_0" else "Q6_K"
        parts = weight.name.split(".")
        index, kind, layers = int(parts[2]), parts[-2], len(spec.layers)
        early = index < layers // 8
        if kind == "v_proj":
            if self.name.endswith("_K_M") and _more_bits(index, layers):
                return "Q6_K"
            layer = spec.layers[index]
            if self.name == "IQ4_XS" and layer.heads // layer.kv_heads >= 4:
                return "Q5_K"
        if kind == "down_proj":
            if self.name.endswith("_K_M") and _more_bits(index, layers):
                return "Q6_K"
            if self.name == "IQ4_XS" and early and not self.important:
                return "Q5_K"
            if self.name == "Q4_0" and early and self.important:
                return "Q4_1"
        return usual


def _more_bits(index: int, layers: int) -> bool:
    """The first and the last eighth, and every third layer between."""
    eighth = layers // 8
    return index < eighth or index >= 7 * layers // 8 or (index - eighth) % 3 == 2


@dataclass(frozen=True)
class GgmlWeights:
    """A checkpoint in a mix. Satisfies `exporter.reference.weights.ReferenceWeights`."""

    source: CheckpointSource
    description: str
    library: GgmlLibrary
    types: Mapping[str, str]
    packed: Mapping[str, Bytes]

    @property
    def architecture(self) -> Mapping[str, Any]:
        return self.source.architecture

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: tensor.shape for name, tensor in self.source.tensors.items()}

    def stored_bytes(self, name: str) -> int:
        """Of one tensor."""
        return self.packed[name].nbytes

    def rows(self, name: str, start: int, stop: int) -> Tensor:
        return self._values(name, self.packed[name][start:stop])

    def gather(self, name: str, wanted: Sequence[int]) -> Tensor:
        return self._values(name, self.packed[name][list(wanted)])

    def _values(self, name: str, packed: Bytes) -> Tensor:
        shape = self.source.tensors[name].shape
        inputs = shape[1] if len(shape) == 2 else 1
        found = self.library.values(self.types[name], packed, inputs)
        return torch.from_numpy(found if len(shape) == 2 else found[:, 0].copy())


def mixed(
    source: CheckpointSource, name: str, importance: Importance | None, library: GgmlLibrary
) -> GgmlWeights:
    """Quantise a source into a mix, in memory. importance: None for no importance matrix."""
    mix, spec = Mix(name, importance is not None), source.components["text"].spec
    types = {weight.name: mix.type_of(spec, weight, library) for weight in spec.weights()}
    packed = {}
    for weight in spec.weights():
        rows = source.rows(weight.name, 0, weight.shape[0])
        if not weight.is_matrix:
            packed[weight.name] = np.ascontiguousarray(rows)[:, None].view(np.uint8)
            continue
        important = None if importance is None else importance.get(weight.name)
        packed[weight.name] = library.quantise(types[weight.name], rows, important)
    return GgmlWeights(source, f"llama.cpp {name}", library, types, packed)


def require_the_samples_types(sample: CheckpointSource, library: GgmlLibrary) -> None:
    """Raise RuntimeError unless Q4_K_M gives every tensor of the sample the type its own file has."""
    spec = sample.components["text"].spec
    for weight in spec.weights():
        ours = Mix("Q4_K_M", important=False).type_of(spec, weight, library)
        if ours != (theirs := sample.tensors[weight.name].dtype):
            raise RuntimeError(f"{weight.name}: {ours} by our policy, {theirs} in the sample's file")
