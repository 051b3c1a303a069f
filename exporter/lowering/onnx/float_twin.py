"""The float twin: the artifact's own graph and bytes, computed without rounding activations.

Logits come for every position. Steps of `float_twin`:
  (1) give 8-bit matmuls their activations whole, not in two parts
  (2) drop the selection of the last position
  (3) cut the graph behind the final norm, into a body and a head                        twin_run
  (4) where the body's matrices are small enough in fp32, write them once and multiply
      with those: a decode step would dequantise them all for one token                  plain_matmuls
  (5) ask every integer matmul that is left for fp32: MatMulNBits at accuracy level 1 dequantises the
      very codes and multiplies in fp32, so it needs no weights but the artifact's
  (6) cut large ones into row slices: each call dequantises a whole matrix into memory
The head stays as it is: it is called once for many rows, and may be larger than all else.
Disk: at most `matrix_bytes`, in step 4; the artifact's data file is linked. Memory: a row chunk.
Not shipped.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import onnx
from onnx import helper

from exporter.errors import LoweringError
from exporter.formats.onnx import TWIN_MATRIX_BYTES
from exporter.lowering.onnx import plain_matmuls
from exporter.lowering.onnx.artifact_file import (
    ArtifactFile,
    attributes,
    consumers_of,
    operators_of,
    producer_of,
    set_attribute,
)
from exporter.lowering.onnx.integer_operators import ACCURACY_FP32
from exporter.lowering.onnx.twin_run import HIDDEN, LOGITS, OnnxTwin
from runtimes.manifest import Artifact

FINAL_NORM = "model.norm.weight"
ARITHMETIC_KEY, CHUNK_KEY = "gemma_export.arithmetic", "gemma_export.prefill_chunk"
BODY_NAME, HEAD_NAME, MATRICES_NAME = "body.onnx", "head.onnx", "body.matrices"
SLICE_ELEMENTS = 1 << 21  # 8 MiB dequantised: stays in the cache until it is multiplied
PREFILL_CHUNK = 128  # tokens the body takes at once


def float_twin(
    release: Path, artifact: Artifact, out: Path, matrix_bytes: int = TWIN_MATRIX_BYTES
) -> OnnxTwin:
    """Write the twin of `release / artifact.path` under `out`, in the same relative directory.

    matrix_bytes: the most that fp32 matrices may take.
    """
    file = ArtifactFile.open(release / artifact.path)
    # (1)
    join_parts(file.model)
    # (2)
    norm = _final_norm(file)
    _want_all_positions(file.model, norm)
    chunk = min(artifact.prefill_chunk, PREFILL_CHUNK)
    set_metadata(file.model, {ARITHMETIC_KEY: "fp32", CHUNK_KEY: str(chunk)})
    directory = (out / artifact.path).parent
    directory.mkdir(parents=True, exist_ok=True)
    link_data(file, directory)
    # (3)
    width = file.initializers[FINAL_NORM].dims[0]
    body = ArtifactFile(file.path, _body(file.model, norm.output[0], width))
    head = ArtifactFile(file.path, _head(file.model, norm.output[0], width))
    # (4)
    if 0 < plain_matmuls.float_bytes(body.model) <= matrix_bytes:
        plain_matmuls.with_plain_matmuls(body, directory / MATRICES_NAME)
    for part, name in ((body, BODY_NAME), (head, HEAD_NAME)):
        in_float(part)
        _drop_unread(part.model.graph)
        onnx.save(part.model, str(directory / name))
    return OnnxTwin(directory / BODY_NAME, directory / HEAD_NAME, artifact.vocab_size)


def link_data(file: ArtifactFile, directory: Path) -> None:
    """Have a graph's data files in a directory."""
    for data in {file.external(name)[0] for name in file.initializers if _is_external(file, name)}:
        _same_bytes(data, directory / data.name)


def in_float(file: ArtifactFile) -> None:
    """Have every integer matmul compute in fp32."""
    nodes: list[onnx.NodeProto] = []
    graph = operators_of(file.model)
    for node in graph.node:
        if node.op_type in plain_matmuls.INTEGER_MATMULS:
            # (5)
            if node.op_type == "MatMulNBits":
                set_attribute(node, "accuracy_level", ACCURACY_FP32)
            # (6)
            nodes += _in_slices(file, node)
        else:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)


def _body(model: onnx.ModelProto, hidden: str, width: int) -> onnx.ModelProto:
    """All that leads to the hidden state and the caches; the hidden state takes the logits' place."""
    caches = [output for output in model.graph.output if output.name != LOGITS]
    body = _part(model, model.graph.input, [_rows(hidden, width), *caches])
    for node in body.graph.node:
        for names in (node.input, node.output):
            names[:] = [LOGITS if name == hidden else name for name in names]
    body.graph.output[0].name = LOGITS
    return body


def _head(model: onnx.ModelProto, hidden: str, width: int) -> onnx.ModelProto:
    """All that leads from the hidden state to the logits."""
    head = _part(
        model,
        [_rows(HIDDEN, width)],
        [output for output in model.graph.output if output.name == LOGITS],
        without=hidden,
    )
    for node in head.graph.node:
        node.input[:] = [HIDDEN if name == hidden else name for name in node.input]
    return head


def _rows(name: str, width: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, "sequence_length", width])


def _part(
    model: onnx.ModelProto,
    inputs: Iterable[onnx.ValueInfoProto],
    outputs: Iterable[onnx.ValueInfoProto],
    without: str = "",
) -> onnx.ModelProto:
    """What the outputs are computed from, over the same data file. without: a value not to be computed."""
    part = onnx.ModelProto()
    part.CopyFrom(model)
    graph = part.graph
    inputs, outputs = list(inputs), list(outputs)
    del graph.input[:], graph.output[:]
    graph.input.extend(inputs)
    graph.output.extend(outputs)
    nodes = [node for node in model.graph.node if without not in node.output]
    del graph.node[:]
    graph.node.extend(nodes)
    _drop_unused(part.graph)
    return part


def _drop_unread(graph: onnx.GraphProto) -> None:
    """Remove initializers that no operator reads."""
    read = {name for node in graph.node for name in node.input}
    stored = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.initializer[:]
    graph.initializer.extend(stored)


def _is_external(file: ArtifactFile, name: str) -> bool:
    return bool(file.initializers[name].data_location == onnx.TensorProto.EXTERNAL)


def join_parts(model: onnx.ModelProto) -> None:
    """Undo the split of activations: cat(coarse, x - coarse) -> matmul -> sum becomes x -> matmul."""
    graph = operators_of(model)
    producers = {output: node for node in graph.node for output in node.output}
    sums = {node.input[0]: node for node in graph.node if node.op_type == "ReduceSum"}
    for node in graph.node:
        parts = producers.get(node.input[0]) if node.op_type == "MatMulNBits" else None
        if parts is not None and parts.op_type == "Concat":
            rest, total = producers[parts.input[1]], sums[node.output[0]]
            node.input[0] = rest.input[0]
            node.output[0], total.output[0] = total.output[0], f"{total.output[0]}.unused"
    _drop_unused(graph)


def _drop_unused(graph: onnx.GraphProto) -> None:
    """Remove nodes none of whose results are read: ONNX Runtime would compute them."""
    wanted = {output.name for output in graph.output}
    kept: list[onnx.NodeProto] = []
    for node in reversed(graph.node):  # in topological order, so readers come first here
        if wanted.intersection(node.output):
            wanted.update(node.input)
            kept.append(node)
    del graph.node[:]
    graph.node.extend(reversed(kept))


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


def _final_norm(file: ArtifactFile) -> onnx.NodeProto:
    norm = next(iter(consumers_of(file.model, FINAL_NORM)), None)
    if norm is None:
        raise LoweringError(file.path, f"no operator reads {FINAL_NORM}", "export again")
    return norm


def _want_all_positions(model: onnx.ModelProto, norm: onnx.NodeProto) -> None:
    selection = producer_of(model, norm.input[0])
    if selection is not None and selection.op_type == "Slice":
        norm.input[0] = selection.input[0]
        model.graph.node.remove(selection)
    for output in model.graph.output:
        if output.name == LOGITS:
            output.type.tensor_type.shape.dim[1].dim_param = "sequence_length"


def set_metadata(model: onnx.ModelProto, changes: dict[str, str]) -> None:
    metadata = {entry.key: entry.value for entry in model.metadata_props} | changes
    del model.metadata_props[:]
    helper.set_model_props(model, metadata)


def _same_bytes(source: Path, target: Path) -> None:
    """The file under another name: a link where the file system allows it, else a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
