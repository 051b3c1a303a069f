"""`ArtifactFile`: a written ONNX graph and its external data, read back from their bytes.

Knows the ONNX format, not how the lowering lays anything out: `read_back` and `float_twin` judge the
file by it. Data is read with `pread`, a row range at a time.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from exporter.errors import LoweringError
from runtimes.excerpt import excerpt, plain_excerpt
from runtimes.inside import is_inside
from runtimes.strict_json import parse_json

WEIGHTS_KEY = "gemma_export.weights"


@dataclass(frozen=True)
class WrittenRows:
    """Rows of an initializer that are one matrix of the checkpoint."""

    weight: str
    rows: int
    scheme: str


@dataclass
class ArtifactFile:
    """A graph without its data, and where the data is."""

    path: Path
    model: onnx.ModelProto
    initializers: dict[str, onnx.TensorProto] = field(init=False)

    def __post_init__(self) -> None:
        self.initializers = {tensor.name: tensor for tensor in self.model.graph.initializer}

    @staticmethod
    def open(path: Path) -> ArtifactFile:
        """Parse the graph. Raises LoweringError when it is absent, empty or not ONNX."""
        try:
            model = onnx.load(str(path), load_external_data=False)
        except Exception as error:  # protobuf's DecodeError is not importable by a stable name
            raise LoweringError(
                path, f"cannot be read as ONNX ({plain_excerpt(error)})", "export again"
            ) from error
        if not model.graph.node:  # no bytes at all are a valid message too
            raise LoweringError(path, "holds no graph", "export again")
        return ArtifactFile(path, model)

    def external(self, name: str) -> tuple[Path, int, int]:
        """File, offset and length of an initializer's bytes.

        Raises LoweringError for data outside the graph's directory or beyond its file's end.
        """
        if (tensor := self.initializers.get(name)) is None:
            raise self._broken(f"has no initializer {excerpt(name)}")
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        file = self.path.parent / location
        plain = bool(location) and Path(location).name == location and "\0" not in location
        if not plain or not is_inside(self.path.parent, file):
            raise LoweringError(
                self.path,
                f"initializer {name} has its data at {excerpt(location)}",
                "do not trust this file",
            )
        offset, length = (self._count(name, key, entries.get(key, "")) for key in ("offset", "length"))
        size = file.stat().st_size if file.is_file() else 0
        if offset + length > size:
            raise LoweringError(
                file,
                f"initializer {name} ends at byte {offset + length} of {size}",
                "the file is truncated, export again",
            )
        return file, offset, length

    def rows(self, name: str, start: int, stop: int) -> NDArray[Any]:
        """Rows start to stop of an initializer, as [rows, everything else]."""
        file, offset, length = self.external(name)
        tensor = self.initializers[name]
        kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
        if not tensor.dims or tensor.dims[0] < 1:
            raise self._broken(f"initializer {excerpt(name)} has no rows")
        row = length // tensor.dims[0]
        if not 0 <= start <= stop <= tensor.dims[0]:
            raise self._broken(f"initializer {excerpt(name)} has {tensor.dims[0]} rows, not {stop}")
        descriptor = os.open(file, os.O_RDONLY)
        try:
            raw = os.pread(descriptor, (stop - start) * row, offset + start * row)
        finally:
            os.close(descriptor)
        return np.frombuffer(raw, kind).reshape(stop - start, -1)

    def origins(self, name: str) -> tuple[WrittenRows, ...]:
        """The matrices an initializer holds, one below the other; empty for other initializers."""
        tensor = self.initializers.get(name)
        if tensor is None:
            return ()
        texts = [entry.value for entry in tensor.metadata_props if entry.key == WEIGHTS_KEY]
        try:
            found = [entry for text in texts for entry in parse_json(text)]
        except (TypeError, ValueError) as error:
            raise self._broken(f"names no weights for {excerpt(name)} ({plain_excerpt(error)})") from error
        for entry in found:
            match entry:
                case [str(), int(), str()]:
                    continue
                case _:
                    raise self._broken(f"names the rows {excerpt(entry)} for {excerpt(name)}")
        return tuple(WrittenRows(*entry) for entry in found)

    def _count(self, name: str, key: str, text: str) -> int:
        """The external data's own numbers are texts."""
        if not text.isascii() or not text.isdigit() or len(text) > 19:
            raise self._broken(f"initializer {excerpt(name)} has the {key} {excerpt(text)}")
        return int(text)

    def _broken(self, what: str) -> LoweringError:
        return LoweringError(self.path, plain_excerpt(what), "the file is damaged, export again")


def operators_of(model: onnx.ModelProto) -> onnx.GraphProto:
    """Where the operators are: in the graph, or in what it runs for each of its inputs' pictures."""
    for node in model.graph.node:
        if node.op_type in ("Scan", "Loop"):
            return next(attribute.g for attribute in node.attribute if attribute.name == "body")
    return model.graph


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """A node's attributes as Python values."""
    return {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}


def set_attribute(node: onnx.NodeProto, name: str, value: int) -> None:
    """Set an integer attribute the node already has."""
    for attribute in node.attribute:
        if attribute.name == name:
            attribute.i = value
            return
    raise LoweringError(node.name, f"has no attribute {name}", "export again")


def producer_of(model: onnx.ModelProto, value: str) -> onnx.NodeProto | None:
    """The node that computes a value."""
    return next((node for node in model.graph.node if value in node.output), None)


def consumers_of(model: onnx.ModelProto, value: str) -> Iterable[onnx.NodeProto]:
    """The nodes that read a value."""
    return (node for node in model.graph.node if value in node.input)
