"""From a path to files LiteRT's GPU accelerator opens, and the largest tensor it will have to hold.

CompiledModel ends the process on the GPU where weights lie in another file (external buffers), so the text
model of a bundle is cut out whole. Not about the heads the CPU driver opens (`model_file`).
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtimes.errors import ArtifactError, BeyondAdapter
from runtimes.litert.attention_masks import CAUSAL, AttentionMasks, masks_of
from runtimes.litert.container import Section, bundle_models, is_container, tower_models
from runtimes.litert.encoder_models import SUFFIX, TowerFiles
from runtimes.litert.external_weights import write_head
from runtimes.litert.flatbuffer import FlatbufferError, within

COPIED_AT_ONCE = 16 << 20


@dataclass(frozen=True)
class GpuFiles:
    """text: a model whose weights are all inside it. embedders: as `ModelFiles` has them; they stay on
    the CPU, as LiteRT-LM keeps them."""

    text: Path
    embedders: Mapping[str, Path]
    masks: AttentionMasks


@dataclass(frozen=True)
class LargestTensor:
    """bytes: at least what it takes on the accelerator."""

    name: str
    bytes: int


def gpu_files(path: Path, scratch: Path) -> GpuFiles:
    """The files, in `scratch`: what the accelerator writes beside a model never lands in a release.

    Raises ArtifactError where the bytes are neither a .tflite nor a .litertlm, or contradict themselves.
    """
    try:
        text = scratch / "text.tflite"
        text.unlink(missing_ok=True)  # of an opening before, and a link must not be written through
        if not is_container(path):
            text.symlink_to(path.resolve())
            return GpuFiles(text, {}, CAUSAL)
        models = bundle_models(path)
        if models.text.weights is not None:
            raise ArtifactError(f"{path}: its text model keeps weights elsewhere; export it again")
        _cut_out(path, models.text.model, text)
        embedders = {}
        for name, sections in models.embedders.items():
            embedders[name] = scratch / f"{name}.tflite"
            write_head(path, sections, embedders[name])
        return GpuFiles(text, embedders, masks_of(models.executor, path))
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be cut out ({error.strerror}); export it again") from error


def gpu_tower_files(path: Path, scratch: Path, wanted: TowerFiles) -> dict[str, Path]:
    """The models of a bundle's tower, weights and all, in `scratch`: by what LiteRT-LM calls them. Raises
    ArtifactError where there are none, or one keeps weights elsewhere."""
    found = {}
    try:
        for name, sections in tower_models(path).items():
            if name not in wanted.needed:
                continue
            if sections.weights is not None:
                raise ArtifactError(f"{path}: its {name} keeps weights elsewhere; export it again")
            found[name] = scratch / f"{name}{SUFFIX}"
            _cut_out(path, sections.model, found[name])
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be cut out ({error.strerror}); export it again") from error
    if next(iter(wanted.needed)) not in found:
        raise ArtifactError(f"{path}: holds no {wanted.what}; export it without --components")
    return found


def _cut_out(path: Path, section: Section, out: Path) -> None:
    with path.open("rb") as bundle, out.open("wb") as file:
        bundle.seek(section.begin)
        left = section.end - section.begin
        while left:
            part = bundle.read(min(left, COPIED_AT_ONCE))
            file.write(part)
            left -= len(part)


def require_room(path: Path, model: Path, fp16: bool, limit: int, adapter: str) -> None:
    """Raise BeyondAdapter, naming `path`, where a tensor of the model is larger than the adapter takes."""
    largest = largest_tensor(path, model, fp16)
    if largest.bytes > limit:
        raise BeyondAdapter(
            f"{path.name} needs a buffer of {largest.bytes:,} bytes for {largest.name}, and {adapter} "
            f"takes {limit:,} at most"
        )


def largest_tensor(path: Path, model: Path, fp16: bool) -> LargestTensor:
    """Of all its graphs. Raises ArtifactError, naming `path`, where the model cannot be read."""
    try:
        with model.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return within(data, lambda parsed: max(_tensors(parsed, fp16), key=lambda each: each.bytes))
    except FlatbufferError as error:
        raise ArtifactError(f"{path}: {error}; export it again") from error
    except ValueError as error:  # an empty file cannot be mapped, and a model of no tensors has no largest
        raise ArtifactError(f"{path}: holds no tensor; export it again") from error


def _tensors(model: Any, fp16: bool) -> Iterator[LargestTensor]:
    from ai_edge_litert import schema_py_generated as schema

    types = schema.TensorType
    half = 16 if fp16 else 32
    bits = {types.INT8: 8, types.INT4: 4, types.INT2: 2, types.FLOAT16: 16, types.FLOAT32: half}
    for i in range(model.SubgraphsLength()):
        subgraph = model.Subgraphs(i)
        for j in range(subgraph.TensorsLength()):
            tensor = subgraph.Tensors(j)
            if tensor.Type() in bits and tensor.ShapeLength():
                size = math.prod(int(side) for side in tensor.ShapeAsNumpy()) * bits[tensor.Type()] // 8
                yield LargestTensor(tensor.Name().decode("utf-8", errors="replace"), size)
