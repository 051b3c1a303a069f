"""Faults put into a written LiteRT file, in place: each must be found by comparing, none by parsing.

The file stays valid; only what it computes is wrong. Works on a .tflite and inside a .litertlm.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, assert_never, get_args

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from runtimes.litert.container import bundle_models, is_container

Fault = Literal["scale", "rope", "mask", "norm"]
FAULTS: tuple[Fault, ...] = get_args(Fault)

FIRST_DOWN = "model.layers.0.mlp.down_proj.weight"
FIRST_NORM = "model.layers.0.input_layernorm.weight"
FREQUENCIES, OUTSIDE_WINDOW = "rope_frequencies", "outside_window"


def corrupt(path: Path, fault: Fault) -> None:
    """Edit the file in place. Raises LookupError where it holds nothing of the kind.

    scale: one scale of one integer weight, times 64. rope: every frequency, times 1.1. mask: what hides
    keys outside the window, 0. norm: every other gain of one norm, times 1.5 (all of them would cancel
    in the norms behind it).
    """
    section = bundle_models(path).text.model if is_container(path) else None
    start, end = (section.begin, section.end) if section else (0, path.stat().st_size)
    with path.open("r+b") as file:
        # Left to the garbage collector: the arrays edited below are views of it.
        data = mmap.mmap(file.fileno(), end - start, offset=start)
    model = schema.Model.GetRootAs(data, 0)
    changed = 0
    for name, tensor, subgraph in _tensors(model):
        match fault:
            case "scale":
                if name == FIRST_DOWN and tensor.Quantization() is not None:
                    changed += _scale(data, model, subgraph, tensor)
            case "rope":
                if name == FREQUENCIES:
                    _constant(model, tensor)[:] *= np.float32(1.1)
                    changed += 1
            case "mask":
                if name == OUTSIDE_WINDOW:
                    _constant(model, tensor)[:] = 0
                    changed += 1
            case "norm":
                if name == FIRST_NORM and not changed:  # one buffer for all subgraphs
                    _constant(model, tensor)[::2] *= np.float32(1.5)
                    changed += 1
            case _:
                assert_never(fault)
    if not changed:
        raise LookupError(f"{path} holds nothing that a {fault!r} fault could change")
    data.flush()


def _tensors(model: Any) -> Iterator[tuple[str, Any, Any]]:
    for i in range(model.SubgraphsLength()):
        subgraph = model.Subgraphs(i)
        for j in range(subgraph.TensorsLength()):
            tensor = subgraph.Tensors(j)
            yield (tensor.Name() or b"").decode(), tensor, subgraph


def _constant(model: Any, tensor: Any) -> NDArray[np.float32]:
    values: NDArray[np.float32] = model.Buffers(tensor.Buffer()).DataAsNumpy().view(np.float32)
    return values


def _scale(data: mmap.mmap, model: Any, subgraph: Any, tensor: Any) -> int:
    quantization = tensor.Quantization()
    if quantization.DetailsType() == schema.QuantizationDetails.BlockwiseQuantization:
        details = schema.BlockwiseQuantization()
        details.Init(quantization.Details().Bytes, quantization.Details().Pos)
        if subgraph.Tensors(0).Name().startswith(b"decode"):  # both subgraphs name the same bytes
            place = model.Buffers(subgraph.Tensors(details.Scales()).Buffer()).Offset()
            np.frombuffer(data, np.float16, 1, place)[:] *= np.float16(64)
        return 1
    if quantization.ScaleLength() == 0:
        return 0
    quantization.ScaleAsNumpy()[:1] *= np.float32(64)
    return 1
