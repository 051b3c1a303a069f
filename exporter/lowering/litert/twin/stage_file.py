"""Writing one stage of a float graph as a .tflite of its own.

Its weights are written in fp32, from the artifact's codes and scales, a few rows at a time; tables that
are only looked up are not copied: the file names their place in the artifact (external buffers, as
in `runtimes.litert.external_weights`). Not about where the cuts are (`stages`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from exporter.lowering.litert.declarations import Span
from exporter.lowering.litert.graph import keep_tensors, scales_of
from exporter.lowering.litert.reading import LiteRtFile
from exporter.lowering.litert.storage import ExternalData
from exporter.lowering.litert.twin.float_graph import FLOAT_BYTES, FloatGraph, WeightSlice
from exporter.lowering.litert.twin.stages import Stage, StageShare
from exporter.lowering.litert.writing import write_tflite
from runtimes.litert.external_weights import EXTERNAL_ID

PIECE_BYTES = 2 << 20  # of float32 rows made at once: small enough for the cache, and for memory used again


def write_stage(graph: FloatGraph, stage: Stage, path: Path) -> None:
    """Raises LoweringError where the artifact ends too early."""
    model = schema.ModelT()
    model.version, model.description = graph.file.model.version, graph.file.model.description
    model.operatorCodes = graph.operator_codes
    model.subgraphs, model.signatureDefs = [], []
    placed = _Buffers(graph, model)
    for part in stage.parts.values():
        _add_part(model, part, placed)
    with path.open("wb") as file:
        write_tflite(model, placed.written, file, lambda done, total: None)


def _add_part(model: Any, part: StageShare, placed: _Buffers) -> None:
    subgraph = schema.SubGraphT()
    subgraph.name = part.signature.key
    subgraph.tensors = [_copied(tensor) for tensor in part.signature.tensors]
    subgraph.operators = [copy.copy(node) for node in part.operators]
    wanted = {*part.inputs.values(), *part.outputs.values()}
    for node in part.operators:
        wanted.update(index for index in (*node.inputs.tolist(), *node.outputs.tolist()) if index >= 0)
    moved = keep_tensors(subgraph, wanted)
    for old, new in moved.items():
        placed.place(subgraph.tensors[new], part.signature.stored.get(old))
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = part.signature.key, len(model.subgraphs)
    signature.inputs = [_named(name, moved[index]) for name, index in part.inputs.items()]
    signature.outputs = [_named(name, moved[index]) for name, index in part.outputs.items()]
    subgraph.inputs = np.array([entry.tensorIndex for entry in signature.inputs], np.int32)
    subgraph.outputs = np.array([entry.tensorIndex for entry in signature.outputs], np.int32)
    model.subgraphs.append(subgraph)
    model.signatureDefs.append(signature)


class _Buffers:
    """Gives the tensors of a stage their buffers: one for all parts, none for bytes in the artifact."""

    def __init__(self, graph: FloatGraph, model: Any) -> None:
        self.graph, self.model = graph, model
        self.written: list[ExternalData] = []
        self._places: dict[int, int] = {0: 0}  # the graph's buffers to the stage's
        self._external: dict[Span, int] = {}
        group = schema.ExternalBufferGroupT()
        group.name = str(graph.file.path.resolve())
        model.buffers = [schema.BufferT()]
        model.externalBufferGroups, model.externalBuffers = [group], []

    def place(self, tensor: Any, stored: Span | None) -> None:
        """Set a tensor's buffer. stored: where its bytes lie in the artifact."""
        if stored is not None:
            tensor.buffer, tensor.externalBuffer = 0, self._in_artifact(stored)
            return
        old = tensor.buffer
        if old not in self._places:
            self._places[old] = len(self.model.buffers)
            buffer = schema.BufferT()
            buffer.data = self.graph.buffers[old].data
            self.model.buffers.append(buffer)
            if (piece := self.graph.pieces.get(old)) is not None:
                values = _values(self.graph.file, piece)
                self.written.append(ExternalData(self._places[old], piece.nbytes, values))
        tensor.buffer = self._places[old]

    def _in_artifact(self, span: Span) -> int:
        if span not in self._external:
            external = schema.ExternalBufferT()
            external.id = self._external[span] = EXTERNAL_ID | len(self._external)
            external.offset, external.length, external.packing = span.begin, span.nbytes, ""
            self.model.externalBuffers.append(external)
        return self._external[span]


def _copied(tensor: Any) -> Any:
    """The tensor, to be renumbered without the original noticing."""
    copied = copy.copy(tensor)
    if scales_of(tensor) is not None:
        copied.quantization = copy.copy(tensor.quantization)
        copied.quantization.details = copy.copy(tensor.quantization.details)
    return copied


def _named(name: str, index: int) -> Any:
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = name, index
    return entry


def _values(file: LiteRtFile, piece: WeightSlice) -> Callable[[], Iterator[NDArray[Any]]]:
    step = max(1, PIECE_BYTES // (piece.matrix.shape[1] * FLOAT_BYTES))
    return lambda: (
        file.values(piece.matrix, start, min(piece.stop, start + step))
        for start in range(piece.start, piece.stop, step)
    )
