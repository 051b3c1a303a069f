"""Faults put into a written LiteRT file, in place: each must be found by comparing, none by parsing.

The file stays valid; only what it computes is wrong. Works on a .tflite and on the models in a .litertlm.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, assert_never, get_args

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from runtimes.litert.container import bundle_models, is_container

AnyModelsFault = Literal["scale", "rope", "mask", "norm"]
Fault = AnyModelsFault | Literal["table"]
FAULTS: tuple[AnyModelsFault, ...] = get_args(AnyModelsFault)

PER_LAYER_TABLE = "model.embed_tokens_per_layer.weight"
FIRST_DOWN = "model.layers.0.mlp.down_proj.weight"
FIRST_NORM = "model.layers.0.input_layernorm.weight"
SINES, OUTSIDE_WINDOW = "rope_sines", "outside_window"


def corrupt(path: Path, fault: Fault) -> None:
    """Edit the file in place. Raises LookupError where it holds nothing of the kind.

    scale: one scale of one integer weight, times 64. rope: the sines of every other position, negated.
    mask: what hides keys outside the window, 0. norm: every other gain of one norm, times 1.5 (all of them
    would cancel in the norms behind it). table: every other row of the per-layer embedding, times 8.
    """
    if not sum(_corrupt_model(path, begin, end, fault) for begin, end in _models(path)):
        raise LookupError(f"{path} holds nothing that a {fault!r} fault could change")


def corrupt_layer(path: Path, layer: int) -> None:
    """One scale of one layer's down projection, times 64, in place. Raises LookupError without one."""
    name = f"model.layers.{layer}.mlp.down_proj.weight"
    if not sum(_corrupt_model(path, begin, end, "scale", name) for begin, end in _models(path)):
        raise LookupError(f"{path} holds no {name} with scales")


def flatten_row_constants(path: Path) -> int:
    """Give integer constants [1, 1, 1, n] the shape [n], and return how many there were. XNNPACK broadcasts
    them all the same; the GPU accelerator takes the first entry of them for all. Releases of 0.1.0 had
    such constants in their sliding masks."""
    return sum(_flatten(path, begin, end) for begin, end in _models(path))


def _flatten(path: Path, start: int, end: int) -> int:
    with path.open("r+b") as file:
        data = mmap.mmap(file.fileno(), end - start, offset=start)  # as above
    model = schema.Model.GetRootAs(data, 0)
    changed = 0
    for _, tensor, _ in _tensors(model):
        shape = tensor.ShapeAsNumpy() if tensor.ShapeLength() == 4 else np.zeros(4, np.int32)
        constant = model.Buffers(tensor.Buffer()).DataLength() > 0
        if tensor.Type() == schema.TensorType.INT32 and constant and tuple(shape[:3]) == (1, 1, 1):
            table = tensor._tab
            first = table.Vector(table.Offset(4))  # of the shape, behind its length
            struct.pack_into("<Ii", data, first - 4, 1, shape[3])
            changed += 1
    data.flush()
    return changed


def _models(path: Path) -> list[tuple[int, int]]:
    """Where each model's bytes begin and end."""
    if not is_container(path):
        return [(0, path.stat().st_size)]
    models = bundle_models(path)
    return [
        (sections.model.begin, sections.model.end) for sections in (models.text, *models.embedders.values())
    ]


def _corrupt_model(path: Path, start: int, end: int, fault: Fault, scaled: str = FIRST_DOWN) -> int:
    """How many tensors were changed. scaled: the weight whose scale is."""
    with path.open("r+b") as file:
        # Left to the garbage collector: the arrays edited below are views of it.
        data = mmap.mmap(file.fileno(), end - start, offset=start)
    model = schema.Model.GetRootAs(data, 0)
    changed, edited = 0, set[int]()
    for name, tensor, subgraph in _tensors(model):
        match fault:
            case "scale":
                if name == scaled and tensor.Quantization() is not None:
                    changed += _scale(data, model, subgraph, tensor)
            case "rope":
                if name == SINES and tensor.Buffer() not in edited:  # one buffer for all subgraphs
                    edited.add(tensor.Buffer())
                    width = int(tensor.ShapeAsNumpy()[-1])
                    _constant(model, tensor).reshape(-1, width)[::2] *= np.float32(-1)
                    changed += 1
            case "mask":
                if name == OUTSIDE_WINDOW:
                    _constant(model, tensor)[:] = 0
                    changed += 1
            case "norm":
                if name == FIRST_NORM and not changed:  # one buffer for all subgraphs
                    _constant(model, tensor)[::2] *= np.float32(1.5)
                    changed += 1
            case "table":
                if name == PER_LAYER_TABLE:
                    tensor.Quantization().ScaleAsNumpy()[::2] *= np.float32(8)
                    changed += 1
            case _:
                assert_never(fault)
    data.flush()
    return changed


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
