"""From a path to a file LiteRT can open, and how that file computes.

Not about running it (`session`) or about a bundle's layout (`container`).
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtimes.errors import ArtifactError
from runtimes.litert.container import is_container, prefill_decode_section
from runtimes.litert.external_weights import IDENTIFIER, write_head

FLOAT = "fp32"
MIXED = "fp32; rows that enter layers with integer weights are rounded to int8"


@dataclass(frozen=True)
class ModelFile:
    """path: what LiteRT opens. arithmetic: how it computes, in words."""

    path: Path
    arithmetic: str


def model_file(path: Path, scratch: Path) -> ModelFile:
    """The .tflite itself, or a head in `scratch` for the model inside a .litertlm.

    Raises ArtifactError where the bytes are neither, or contradict themselves.
    """
    try:
        if is_container(path):
            runnable = scratch / "head.tflite"
            write_head(path, prefill_decode_section(path), runnable)
        else:
            runnable = path
        return ModelFile(runnable, MIXED if _has_integer_weights(path, runnable) else FLOAT)
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror}); export it again") from error


def _has_integer_weights(path: Path, runnable: Path) -> bool:
    from ai_edge_litert import schema_py_generated as schema

    integers = {schema.TensorType.INT8, schema.TensorType.INT4}
    if runnable.stat().st_size < 8:
        raise _not_a_model(path)
    with runnable.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data[4:8] != IDENTIFIER:
            raise _not_a_model(path)
        try:
            subgraph: Any = schema.Model.GetRootAs(data, 0).Subgraphs(0)
            return any(subgraph.Tensors(i).Type() in integers for i in range(subgraph.TensorsLength()))
        except (AttributeError, IndexError, TypeError, ValueError, struct.error) as error:
            raise ArtifactError(f"{path}: its flatbuffer points outside itself; export it again") from error


def _not_a_model(path: Path) -> ArtifactError:
    return ArtifactError(f"{path}: is neither a .tflite nor a .litertlm; export or download it again")
