"""From a path to files LiteRT can open, and how they compute.

Not about running them (`session`) or about a bundle's layout (`container`).
"""

from __future__ import annotations

import errno
import math
import mmap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from runtimes.errors import ArtifactError
from runtimes.litert.attention_masks import CAUSAL, AttentionMasks, masks_of
from runtimes.litert.container import bundle_models, is_container
from runtimes.litert.external_weights import write_head
from runtimes.litert.flatbuffer import IDENTIFIER, FlatbufferError, within

T = TypeVar("T")

FLOAT = "fp32"
MIXED = "fp32; rows that enter layers with integer weights are rounded to int8"

# Rows are padded, sums and scales added, and the copy grows in blocks.
GROUP_SCALES = 1  # bits per number, for a scale per group of 32
BLOCKS = 1 << 20


@dataclass(frozen=True)
class ModelFiles:
    """What LiteRT opens. arithmetic: how the text model computes, in words.

    embedders: models that tokens go through first, by the input of the text model they fill. packed: bytes
    of the text model's weights as XNNPACK packs them, at most. masks: that the text model takes.
    """

    text: Path
    embedders: Mapping[str, Path]
    arithmetic: str
    packed: int
    masks: AttentionMasks = CAUSAL


def model_files(path: Path, scratch: Path) -> ModelFiles:
    """The .tflite itself, or heads in `scratch` for the models inside a .litertlm.

    Raises ArtifactError where the bytes are neither, or contradict themselves.
    """
    try:
        if not is_container(path):
            return _of_text(path, path, {})
        models = bundle_models(path)
        text = scratch / "head.tflite"
        write_head(path, models.text, text)
        embedders = {}
        for name, sections in models.embedders.items():
            embedders[name] = scratch / f"{name}.tflite"
            write_head(path, sections, embedders[name])
        return replace(_of_text(path, text, embedders), masks=masks_of(models.executor, path))
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise  # of the scratch directory, not of the artifact
        raise ArtifactError(f"{path}: cannot be read ({error.strerror}); export it again") from error


def masks_in(path: Path) -> AttentionMasks:
    """What a file's text model takes. Raises ArtifactError for a bundle that contradicts itself."""
    return masks_of(bundle_models(path).executor, path) if is_container(path) else CAUSAL


def _of_text(path: Path, runnable: Path, embedders: Mapping[str, Path]) -> ModelFiles:
    computes = computing(path, runnable)
    return ModelFiles(runnable, embedders, computes.arithmetic, computes.packed)


@dataclass(frozen=True)
class Computing:
    """How a model computes, in words, and bytes of its weights as XNNPACK packs them, at most."""

    arithmetic: str
    packed: int


def computing(path: Path, runnable: Path) -> Computing:
    """Integer weights are those of layers: a table that is only looked up is read exactly. path: for
    messages. Raises ArtifactError for what is no model."""
    from ai_edge_litert import schema_py_generated as schema

    multiplied = in_model(path, runnable, _multiplied)
    kinds = schema.TensorType
    integers = any(kind in (kinds.INT8, kinds.INT4, kinds.INT2) for kind, _ in multiplied)
    bits = {kinds.INT8: 8, kinds.INT4: 4 + GROUP_SCALES, kinds.INT2: 2}
    weights = sum(count * bits.get(kind, 32) // 8 for kind, count in multiplied)
    return Computing(MIXED if integers else FLOAT, weights + weights // 8 + BLOCKS)


def in_model(path: Path, runnable: Path, read: Callable[[Any], T]) -> T:
    """What `read` makes of a model's flatbuffer. path: for messages. Raises ArtifactError for what is no
    model."""
    if runnable.stat().st_size < 8:
        raise _not_a_model(path)
    with runnable.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data[4:8] != IDENTIFIER:
            raise _not_a_model(path)
        try:
            return within(data, read)
        except FlatbufferError as error:
            raise ArtifactError(f"{path}: {error}; export it again") from error


def _multiplied(model: Any) -> list[tuple[int, int]]:
    """Type and count of the numbers of each matrix that rows are multiplied by, in the signature that has
    most of them: prefill leaves the last one out."""
    from ai_edge_litert import schema_py_generated as schema

    most: list[tuple[int, int]] = []
    for subgraph in (model.Subgraphs(i) for i in range(model.SubgraphsLength())):
        found = {
            subgraph.Operators(i).Inputs(1)
            for i in range(subgraph.OperatorsLength())
            if model.OperatorCodes(subgraph.Operators(i).OpcodeIndex()).BuiltinCode()
            == schema.BuiltinOperator.FULLY_CONNECTED
        }
        tensors = [subgraph.Tensors(i) for i in sorted(found)]
        matrices = [
            (each.Type(), math.prod(each.Shape(k) for k in range(each.ShapeLength()))) for each in tensors
        ]
        most = max(most, matrices, key=len)
    return most


def _not_a_model(path: Path) -> ArtifactError:
    return ArtifactError(f"{path}: is neither a .tflite nor a .litertlm; export or download it again")
