"""The float twin: the artifact's own graph and bytes, computed without rounding activations.

MatMulNBits at accuracy level 1 dequantises the very codes and multiplies in fp32, so the twin needs
no weights of its own: its data file is the artifact's. Logits come for every position.
Steps of `float_twin`:
  (1) give 8-bit matmuls their activations whole, not in two parts
  (2) ask every integer matmul for fp32
  (3) cut large ones into row slices: each call dequantises a whole matrix into memory
  (4) drop the selection of the last position
Not shipped: decoding is slow.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import onnx
from onnx import helper

from exporter.errors import LoweringError
from exporter.lowering.onnx.artifact_file import (
    ArtifactFile,
    attributes,
    consumers_of,
    producer_of,
    set_attribute,
)
from runtimes.manifest import Artifact

FINAL_NORM = "model.norm.weight"
ARITHMETIC_KEY, CHUNK_KEY = "gemma_export.arithmetic", "gemma_export.prefill_chunk"
ACCURACY_FP32 = 1
SLICE_ELEMENTS = 1 << 21  # 8 MiB dequantised: stays in the cache until it is multiplied
PREFILL_CHUNK = 128  # all positions' logits of a chunk are in memory at once


def float_twin(release: Path, artifact: Artifact, out: Path) -> Artifact:
    """Write the twin of `release / artifact.path` under `out`, at the same relative path."""
    file = ArtifactFile.open(release / artifact.path)
    # (1)
    _join_parts(file.model)
    nodes: list[onnx.NodeProto] = []
    for node in file.model.graph.node:
        if node.op_type == "MatMulNBits":
            # (2)
            set_attribute(node, "accuracy_level", ACCURACY_FP32)
            # (3)
            nodes += _in_slices(file, node)
        else:
            nodes.append(node)
    del file.model.graph.node[:]
    file.model.graph.node.extend(nodes)
    # (4)
    _want_all_positions(file)
    chunk = min(artifact.prefill_chunk, PREFILL_CHUNK)
    _set_metadata(file.model, {ARITHMETIC_KEY: "fp32", CHUNK_KEY: str(chunk)})
    target = out / artifact.path
    target.parent.mkdir(parents=True, exist_ok=True)
    for data in {file.external(name)[0] for name in file.initializers if _is_external(file, name)}:
        _same_bytes(data, target.with_name(data.name))
    onnx.save(file.model, str(target))
    return replace(artifact, prefill_chunk=chunk, prefill_logits="all")


def _is_external(file: ArtifactFile, name: str) -> bool:
    return bool(file.initializers[name].data_location == onnx.TensorProto.EXTERNAL)


def _join_parts(model: onnx.ModelProto) -> None:
    """Undo the split of activations: cat(coarse, x - coarse) -> matmul -> sum becomes x -> matmul."""
    producers = {output: node for node in model.graph.node for output in node.output}
    sums = {node.input[0]: node for node in model.graph.node if node.op_type == "ReduceSum"}
    for node in model.graph.node:
        parts = producers.get(node.input[0]) if node.op_type == "MatMulNBits" else None
        if parts is not None and parts.op_type == "Concat":
            rest, total = producers[parts.input[1]], sums[node.output[0]]
            node.input[0] = rest.input[0]
            node.output[0], total.output[0] = total.output[0], f"{total.output[0]}.unused"
    _drop_unused(model)


def _drop_unused(model: onnx.ModelProto) -> None:
    """Remove nodes none of whose results are read: ONNX Runtime would compute them."""
    wanted = {output.name for output in model.graph.output}
    kept: list[onnx.NodeProto] = []
    for node in reversed(model.graph.node):  # in topological order, so readers come first here
        if wanted.intersection(node.output):
            wanted.update(node.input)
            kept.append(node)
    del model.graph.node[:]
    model.graph.node.extend(reversed(kept))


def _in_slices(file: ArtifactFile, node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    """The matmul itself, or slices of its rows and their concatenation."""
    given = attributes(node)
    rows = given["N"]
    step = max(1, SLICE_ELEMENTS // given["K"])
    if rows <= step:
        yield node
        return
    parts = []
    for start in range(0, rows, step):
        count = min(step, rows - start)
        operands = [_row_slice(file, name, start, count) for name in node.input[1:4]]
        parts.append(f"{node.output[0]}.{start}")
        part = onnx.NodeProto()
        part.CopyFrom(node)
        part.name = f"{node.name}.{start}"
        set_attribute(part, "N", count)
        del part.input[:], part.output[:]
        part.input.extend([node.input[0], *operands])
        part.output.append(parts[-1])
        yield part
    yield helper.make_node("Concat", parts, [node.output[0]], name=f"{node.name}.rows", axis=-1)


def _row_slice(file: ArtifactFile, name: str, start: int, count: int) -> str:
    """A new initializer of some rows of another, over the same bytes; its name."""
    whole = file.initializers[name]
    data, offset, length = file.external(name)
    row = length // whole.dims[0]
    label = f"{name}.{start}"
    part = onnx.TensorProto(
        name=label,
        data_type=whole.data_type,
        dims=[count, *whole.dims[1:]],
        data_location=onnx.TensorProto.EXTERNAL,
    )
    place = {"location": data.name, "offset": offset + start * row, "length": count * row}
    for key, value in place.items():
        part.external_data.add(key=key, value=str(value))
    file.model.graph.initializer.append(part)
    return label


def _want_all_positions(file: ArtifactFile) -> None:
    model = file.model
    norm = next(iter(consumers_of(model, FINAL_NORM)), None)
    if norm is None:
        raise LoweringError(file.path, f"no operator reads {FINAL_NORM}", "export again")
    selection = producer_of(model, norm.input[0])
    if selection is not None and selection.op_type == "Slice":
        norm.input[0] = selection.input[0]
        model.graph.node.remove(selection)
    for output in model.graph.output:
        if output.name == "logits":
            output.type.tensor_type.shape.dim[1].dim_param = "sequence_length"


def _set_metadata(model: onnx.ModelProto, changes: dict[str, str]) -> None:
    metadata = {entry.key: entry.value for entry in model.metadata_props} | changes
    del model.metadata_props[:]
    helper.set_model_props(model, metadata)


def _same_bytes(source: Path, target: Path) -> None:
    """The file under another name: a link where the file system allows it, else a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
