"""A tower's tensors by canonical name, and how each lies in the file.

transformers has called them differently over time, and Gemma 4 12B's otherwise on disk than in memory. Not
about which a tower must have (`tensor_set`). Source: transformers 5.23 `conversion_mapping.py`, "llava",
"CLIPVisionModel" and "gemma4_unified".
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from exporter.checkpoints.huggingface.tensor_views import (
    InOrder,
    TableAmong,
    TableOf,
    TapOf,
    TensorView,
    Transposed,
    as_stored,
)
from exporter.checkpoints.huggingface.weight_files import StoredTensor
from exporter.errors import CheckpointError
from exporter.models.audio.spec import AudioSpec, ConformerSpec
from exporter.models.text.spec import Role
from exporter.models.vision.spec import (
    BOUNDS,
    MOST_SOFT_TOKENS,
    PatchEmbedderSpec,
    PatchTowerSpec,
    SiglipSpec,
    VisionSpec,
)

AXES = "xy"  # in the order that tables of both have them
# Of SigLIPs saved with their pooling head, which Gemma does not use; transformers does not load it either.
UNUSED_HEAD = "vision_tower.head."
RENAMED = {
    "gemma4_unified_vision": {
        "embed_vision.embedding_projection.": "vision_embedder.multimodal_embedder.embedding_projection.",
        "embed_vision.": "vision_embedder.",
    },
    "siglip_vision_model": {"vision_tower.vision_model.": "vision_tower."},
}
PROJECTION = "multi_modal_projector.mm_input_projection"


def tower_tensors(
    named: Mapping[str, str],
    everything: Mapping[str, StoredTensor],
    spec: VisionSpec | AudioSpec,
    where: object,
) -> dict[str, StoredTensor]:
    """By canonical name, as far as one tensor is one weight.

    named: from `TextTensors`. Raises CheckpointError for one that is there under two names.
    """
    found: dict[str, StoredTensor] = {}
    for name, stored in named.items():
        canonical = _renamed(name, spec)
        if canonical.startswith(UNUSED_HEAD):
            continue
        if canonical in found:
            raise CheckpointError(
                where,
                f"tensors {found[canonical].header.name} and {stored} are the same weight",
                "two checkpoints were mixed up; fetch it again",
            )
        found[canonical] = everything[stored]
    return found


def tower_views(stored: Mapping[str, StoredTensor], spec: VisionSpec | AudioSpec) -> dict[str, TensorView]:
    """Every weight that is stored as floats. What is no weight of the spec stays as it is, to be told."""
    left = dict(stored)
    views: dict[str, TensorView] = {}

    def take(name: str, axes: int) -> StoredTensor | None:
        there = left.get(name)
        return left.pop(name) if there is not None and len(there.header.shape) == axes else None

    if isinstance(spec, SiglipSpec):
        if (projection := take(f"{PROJECTION}_weight", 2)) is not None:
            views[f"{PROJECTION}.weight"] = Transposed(projection)
    elif isinstance(spec, PatchTowerSpec):
        table = "vision_tower.patch_embedder.position_embedding_table"
        if (tables := take(table, 3)) is not None:
            # What no picture reaches is left out. A table of other places than config.json says is not its.
            longest = spec.positions == spec.kernel * MOST_SOFT_TOKENS
            most = spec.positions if longest else tables.header.shape[1]
            for axis, letter in enumerate(AXES):
                views[f"{table}.{letter}"] = TableOf(tables, axis, most)
    elif isinstance(spec, PatchEmbedderSpec):
        table = "vision_embedder.pos_embedding"
        if (tables := take(table, 3)) is not None:
            for axis, letter in enumerate(AXES):
                views[f"{table}.{letter}"] = TableAmong(tables, axis)
    elif isinstance(spec, ConformerSpec):
        for layer in range(spec.layers):
            name = f"audio_tower.layers.{layer}.lconv1d.depthwise_conv1d."
            there = left.get(f"{name}weight")
            if there is not None and there.header.shape[1:] == (1, spec.kernel):
                views |= {f"{name}{tap}": TapOf(there, tap) for tap in range(spec.kernel)}
                del left[f"{name}weight"]
    for weight in spec.weights():
        if (there := left.pop(weight.name, None)) is not None:
            views[weight.name] = _in_order(there, weight.shape, weight.role)
    return views | {name: as_stored(there) for name, there in left.items()}


def finite_bounds(name: str, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The same, but of a bound without end the largest number: it binds as little, and every file that is
    written of it has a word for it."""
    if name.rpartition(".")[2] not in BOUNDS:
        return values
    most = np.finfo(np.float32).max
    return np.where(np.isinf(values), np.sign(values) * most, values).astype(np.float32)


def _in_order(stored: StoredTensor, shape: tuple[int, ...], role: Role) -> InOrder:
    """A filter's axes behind the first are the inputs of one linear; a scalar is a vector of one."""
    there = stored.header.shape
    flat = role is Role.PATCHES and len(there) == 4
    if flat and (there[0], int(np.prod(there[1:]))) == shape:
        return InOrder(stored, shape)
    return InOrder(stored, shape) if there == () and shape == (1,) else as_stored(stored)


def _renamed(name: str, spec: VisionSpec | AudioSpec) -> str:
    for before, after in RENAMED.get(spec.model_type, {}).items():
        if name.startswith(before):
            return after + name.removeprefix(before)
    return name
