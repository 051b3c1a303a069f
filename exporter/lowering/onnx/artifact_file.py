"""`ArtifactFile`: a written ONNX graph and its external data, read back from their bytes.

Knows the ONNX format, not how the lowering lays anything out: `read_back` and `float_twin` judge the
file by it. Data is read with `pread`, a row range at a time.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from exporter.errors import LoweringError

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
            raise LoweringError(path, f"cannot be read as ONNX ({error})", "export again") from error
        if not model.graph.node:  # no bytes at all are a valid message too
            raise LoweringError(path, "holds no graph", "export again")
        return ArtifactFile(path, model)

    def external(self, name: str) -> tuple[Path, int, int]:
        """File, offset and length of an initializer's bytes.

        Raises LoweringError for data outside the graph's directory or beyond its file's end.
        """
        entries = {entry.key: entry.value for entry in self.initializers[name].external_data}
        location = entries.get("location", "")
        if not location or Path(location).name != location:
            raise LoweringError(
                self.path, f"initializer {name} has its data at {location!r}", "do not trust this file"
            )
        file = self.path.with_name(location)
        offset, length = int(entries["offset"]), int(entries["length"])
        size = file.stat().st_size if file.exists() else 0
        if offset + length > size:
            raise LoweringError(
                file,
                f"initializer {name} ends at byte {offset + length} of {size}",
                "the file is truncated, export again",
            )
        return file, offset, length

    def rows(self, name: str, start: int, stop: int) -> NDArray[Any]:
        """Rows start to stop of an initializer, as [rows, everything else]."""
        tensor = self.initializers[name]
        kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
        file, offset, length = self.external(name)
        row = length // tensor.dims[0]
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
        return tuple(WrittenRows(*entry) for text in texts for entry in json.loads(text))


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
