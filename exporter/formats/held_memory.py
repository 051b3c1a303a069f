"""`HeldMemory`: what an opened artifact holds at its peak, by component, and how systems count memory.

Each runtime says in its own room what it holds (`exporter.formats.*`), for the driver or engine a device
runs. Not about what an export takes of this machine (`exporter.planning.memory`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from exporter.models.text.spec import ModelSpec, Role, WeightSpec
from exporter.schemes import FP32, Scheme
from runtimes.formats import Accelerator, Format

Metric = Literal["ru_maxrss", "phys_footprint", "gpu_memory", "wasm_memory"]
"""How a device counts an app's memory; figures of different metrics are not comparable.

ru_maxrss: resident pages, mapped files included (Android, Linux). phys_footprint: dirty and
compressed pages, clean mapped ones excluded (Apple). gpu_memory: allocations on the device.
wasm_memory: the linear memory of a WebAssembly module.
"""

Place = Literal["file", "private", "gpu", "any"]
"""file: clean pages of a mapped file. private: pages of the process alone. gpu: a GPU's buffers, which are
the same memory on a phone and another on a PC. any: not known which of them, so that every metric counts
it."""

TOKENIZER_ENTRY = 1100  # bytes of a vocabulary's entry in Hugging Face's tokenizers

# ru_maxrss itself sees no GPU buffers; a phone has to hold them all the same, so they count. So would they
# beside a page's linear memory, of which no format has any.
COUNTED: dict[Metric, frozenset[Place]] = {
    "ru_maxrss": frozenset({"file", "private", "gpu", "any"}),
    "phys_footprint": frozenset({"private", "gpu", "any"}),
    "gpu_memory": frozenset({"gpu", "any"}),
    "wasm_memory": frozenset({"file", "private", "gpu", "any"}),
}


@dataclass(frozen=True)
class HeldMemory:
    """component: in a word or two, for people and reports. bytes: at the peak."""

    component: str
    bytes: int
    place: Place


@dataclass(frozen=True)
class OpenedModel:
    """What a runtime has opened: shapes and schemes, no weights.

    schemes: of every matrix. context: of the artifact. prefill_chunk: tokens a call takes at most.
    cache_bytes: one copy of its KV cache. text_bytes: of the tokenizer's file. with_tokenizer: whether the
    app holds one beside it. rows: whether it takes images or sounds; their towers are no part of it.
    """

    spec: ModelSpec
    schemes: Mapping[str, Scheme]
    format: Format
    accelerator: Accelerator
    context: int
    prefill_chunk: int
    cache_bytes: int
    text_bytes: int
    with_tokenizer: bool = True
    rows: bool = False

    def stored(self, weight: WeightSpec) -> int:
        """Bytes of a weight as it is stored; a vector is in fp32."""
        return self.scheme(weight).stored_bytes(weight.shape)

    def scheme(self, weight: WeightSpec) -> Scheme:
        return self.schemes[weight.name] if weight.is_matrix else FP32

    @property
    def multiplied(self) -> tuple[WeightSpec, ...]:
        """The matrices that activations are multiplied by: linears and the head."""
        head = self.spec.head_name
        return tuple(each for each in self.spec.weights() if each.role is Role.LINEAR or each.name == head)

    @property
    def tables(self) -> tuple[WeightSpec, ...]:
        """The matrices that rows are looked up in; a tied embedding is the head as well."""
        looked_up = (Role.EMBEDDING, Role.PER_LAYER_EMBEDDING)
        return tuple(each for each in self.spec.weights() if each.role in looked_up)

    @property
    def tokenizer(self) -> HeldMemory:
        """Measured: 276 MiB for the 262,144 entries of Gemma 3's, by the library engines take it from."""
        held = self.spec.vocab_size * TOKENIZER_ENTRY if self.with_tokenizer else 0
        return HeldMemory("tokenizer", held, "private")

    @property
    def rope_bytes(self) -> int:
        """Sines and cosines of every position, fp32, of full layers and of sliding ones."""
        kinds = {(each.rope, each.head_dim) for each in self.spec.layers}
        return sum(self.context * width * FP32.bits // 8 for _, width in kinds)

    @property
    def vectors_bytes(self) -> int:
        """Of norms and scalars."""
        return sum(self.stored(each) for each in self.spec.weights() if not each.is_matrix)

    @property
    def widest(self) -> int:
        """Numbers of a position in the widest MLP."""
        return max(layer.intermediate_size for layer in self.spec.layers)

    @property
    def most_heads(self) -> int:
        return max(layer.heads for layer in self.spec.layers)


Holds = Callable[[OpenedModel], tuple[HeldMemory, ...]]
"""A runtime's own answer: what it holds at its peak."""

WrittenBytes = Callable[[OpenedModel], int]
"""Bytes of an artifact on disk, before it is written: from shapes, within some percent."""

WrittenFiles = Callable[[OpenedModel], Mapping[str, int]]
"""The files that whoever opens an artifact reads whole, name to bytes, before they are written; not those
of towers."""


def counted(held: Iterable[HeldMemory], metric: Metric) -> dict[str, int]:
    """Component to bytes, of those that this metric counts; components of one name are added."""
    found: dict[str, int] = {}
    for each in held:
        if each.place in COUNTED[metric] and each.bytes > 0:
            found[each.component] = found.get(each.component, 0) + each.bytes
    return found
