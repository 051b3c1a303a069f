"""From a path to files LiteRT can open, and how they compute.

Not about running them (`session`) or about a bundle's layout (`container`).
"""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtimes.errors import ArtifactError
from runtimes.litert.container import bundle_models, is_container
from runtimes.litert.external_weights import write_head
from runtimes.litert.flatbuffer import IDENTIFIER, FlatbufferError, within

FLOAT = "fp32"
MIXED = "fp32; rows that enter layers with integer weights are rounded to int8"


@dataclass(frozen=True)
class ModelFiles:
    """What LiteRT opens. arithmetic: how the text model computes, in words.

    embedders: models that tokens go through first, by the input of the text model they fill.
    """

    text: Path
    embedders: Mapping[str, Path]
    arithmetic: str


def model_files(path: Path, scratch: Path) -> ModelFiles:
    """The .tflite itself, or heads in `scratch` for the models inside a .litertlm.

    Raises ArtifactError where the bytes are neither, or contradict themselves.
    """
    try:
        if not is_container(path):
            return ModelFiles(path, {}, _arithmetic(path, path))
        models = bundle_models(path)
        text = scratch / "head.tflite"
        write_head(path, models.text, text)
        embedders = {}
        for name, sections in models.embedders.items():
            embedders[name] = scratch / f"{name}.tflite"
            write_head(path, sections, embedders[name])
        return ModelFiles(text, embedders, _arithmetic(path, text))
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror}); export it again") from error


def _arithmetic(path: Path, runnable: Path) -> str:
    """Integer weights are those of layers: a table that is only looked up is read exactly."""
    from ai_edge_litert import schema_py_generated as schema

    integers = {schema.TensorType.INT8, schema.TensorType.INT4}

    def multiplies_integers(model: Any) -> bool:
        subgraph = model.Subgraphs(0)
        multiplied = {
            subgraph.Operators(i).Inputs(1)
            for i in range(subgraph.OperatorsLength())
            if model.OperatorCodes(subgraph.Operators(i).OpcodeIndex()).BuiltinCode()
            == schema.BuiltinOperator.FULLY_CONNECTED
        }
        return any(subgraph.Tensors(i).Type() in integers for i in multiplied)

    if runnable.stat().st_size < 8:
        raise _not_a_model(path)
    with runnable.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data[4:8] != IDENTIFIER:
            raise _not_a_model(path)
        try:
            return MIXED if within(data, multiplies_integers) else FLOAT
        except FlatbufferError as error:
            raise ArtifactError(f"{path}: {error}; export it again") from error


def _not_a_model(path: Path) -> ArtifactError:
    return ArtifactError(f"{path}: is neither a .tflite nor a .litertlm; export or download it again")
