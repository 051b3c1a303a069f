"""`QuantizedCheckpoint`: reading the quantised checkpoint row range by row range.

Peak memory is the rows asked for: data is read with `pread`, so source pages never count as ours.
Not about writing it (`exporter.quantization.store.writer`).

Layout, one directory:
    config.json                     the model's configuration with compressed-tensors' quantization_config
    model.safetensors.index.json    canonical transformers name to shard, for transformers' own loader;
                                    without a quantised embedding, which that loader cannot take
    <weight name>.safetensors       one matrix each: `X.weight_packed` I32 [out, in * bits / 32],
                                    `X.weight_scale` F16 or F32 [out, groups], `X.weight_shape` I64 [2]
                                    (compressed-tensors "pack-quantized"), or `X.weight` F16 / F32
    vectors.safetensors             norms (1 not added) and scalars, and the vector an equalised
                                    embedding's rows are multiplied with, F32; what the decoder
                                    multiplies by is half precision (`exporter.quantization.store.gains`)
    quantized.json                  ours: schema version, scheme of every matrix, source, architecture;
                                    called quantizing.json until the last matrix is there
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporter.checkpoints.files.safetensors_file import SafetensorsFile
from exporter.checkpoints.interface import CodeScales
from exporter.errors import QuantizedCheckpointError
from exporter.models.text.families import read_spec
from exporter.models.text.spec import COLUMNS_NAME, ModelSpec, Role, WeightSpec
from exporter.quantization.store.journal import RECORD_NAME, read_record
from exporter.quantization.store.origins import Origin
from exporter.quantization.store.packing import Packed, unpack
from exporter.schemes import SCHEMES, FloatScheme, IntegerScheme, Scheme

VECTORS_NAME = "vectors.safetensors"
SCALE_DTYPES: dict[int, np.dtype[Any]] = {16: np.dtype(np.float16), 32: np.dtype(np.float32)}


@dataclass(frozen=True)
class IntegerMatrix:
    """A matrix stored as codes and scales. weight[o, i] = code[o, i] * scale[o, i // group]."""

    name: str
    shape: tuple[int, int]
    scheme: IntegerScheme
    file: SafetensorsFile

    def packed(self, start: int, stop: int) -> Packed:
        """Offset-binary bytes of rows start to stop, [rows, in * bits / 8]."""
        row = self.shape[1] * self.scheme.bits // 8
        raw = self.file.read_bytes(f"{self.name}_packed", start * row, (stop - start) * row)
        return np.frombuffer(raw, np.uint8).reshape(stop - start, row)

    def codes(self, start: int, stop: int) -> NDArray[np.int8]:
        """Signed codes of rows start to stop, [rows, in]."""
        return unpack(self.packed(start, stop), self.scheme.bits)

    def scales(self, start: int, stop: int) -> CodeScales:
        """Scales of rows start to stop in the scheme's floating point, [rows, groups].

        Never 0, and positive unless taken over from a source that has negative ones.
        """
        kind = SCALE_DTYPES[self.scheme.scale_bits]
        groups = self.scheme.groups(self.shape[1])
        row = groups * kind.itemsize
        raw = self.file.read_bytes(f"{self.name}_scale", start * row, (stop - start) * row)
        return np.frombuffer(raw, kind).reshape(stop - start, groups)

    def values(self, start: int, stop: int) -> NDArray[np.float32]:
        """code * scale in float32, [rows, in]. Exact: 8 by 11 bits of mantissa, or 6 by 18 (Q6_K)."""
        scales = self.scales(start, stop).astype(np.float32)
        codes = self.codes(start, stop).astype(np.float32)
        grouped = codes.reshape(stop - start, scales.shape[1], -1)
        grouped *= scales[:, :, None]
        return codes


@dataclass(frozen=True)
class FloatMatrix:
    """A matrix stored as floating point."""

    name: str
    shape: tuple[int, int]
    scheme: FloatScheme
    file: SafetensorsFile

    def stored(self, start: int, stop: int) -> NDArray[Any]:
        """Rows start to stop in the stored type, [rows, in]."""
        row = self.shape[1] * self.scheme.bits // 8
        raw = self.file.read_bytes(self.name, start * row, (stop - start) * row)
        kind = np.float16 if self.scheme.bits == 16 else np.float32
        return np.frombuffer(raw, kind).reshape(stop - start, self.shape[1])

    def values(self, start: int, stop: int) -> NDArray[np.float32]:
        """Rows start to stop in float32, [rows, in]."""
        return self.stored(start, stop).astype(np.float32)


Matrix = IntegerMatrix | FloatMatrix


def row_chunks(matrix: Matrix, budget: int = 32 << 20) -> Iterator[tuple[int, int]]:
    """Row ranges [start, stop) of at most `budget` bytes as float32, at least a row each."""
    rows, inputs = matrix.shape
    step = max(1, budget // (inputs * 4))
    for start in range(0, rows, step):
        yield start, min(rows, start + step)


@dataclass(frozen=True)
class QuantizedCheckpoint:
    """An opened quantised checkpoint. `matrices` is in the graph's order of first use."""

    directory: Path
    spec: ModelSpec
    matrices: Mapping[str, Matrix]
    vectors: Mapping[str, NDArray[np.float32]]
    record: Mapping[str, Any]

    @property
    def origins(self) -> dict[str, Origin]:
        """How each matrix came to be what it is."""
        return {name: Origin(how, dtype) for name, (how, dtype) in self.record["origins"].items()}

    def columns(self, name: str) -> NDArray[np.float32]:
        """What the columns of a matrix's stored values are multiplied with, [in] or [1]: ones, save for
        an equalised embedding."""
        equalised = self.spec.embedding_columns and name == self.spec.embedding_name
        return self.vectors[COLUMNS_NAME] if equalised else np.ones(1, np.float32)

    def gains(self) -> dict[str, NDArray[np.float32]]:
        """Norm gains and scalars as the decoder multiplies by them: 1 added where the family does."""
        adds = np.float32(1.0 if self.spec.norm_adds_one else 0.0)
        gains = {
            weight.name: self.vectors[weight.name] + (adds if weight.role is Role.NORM else 0)
            for weight in self.spec.weights()
            if not weight.is_matrix
        }
        if self.spec.embedding_columns:
            # The head is the same matrix, divided by the same vector: its inputs make up for it.
            gains["model.norm.weight"] = gains["model.norm.weight"] * gains[COLUMNS_NAME]
        return gains


def open_quantized(directory: Path) -> QuantizedCheckpoint:
    """Open a finished quantised checkpoint; reads headers, norms and scalars, no matrix data.

    Raises QuantizedCheckpointError when it is unfinished, damaged, or of another schema version, and
    CheckpointError for a file that is not what its record says.
    """
    record = read_record(directory)
    spec = replace(
        read_spec(record["architecture"], str(directory / RECORD_NAME)),
        embedding_columns=record["embedding_columns"],
    )
    small = SafetensorsFile.open(directory / VECTORS_NAME)
    matrices: dict[str, Matrix] = {}
    vectors: dict[str, NDArray[np.float32]] = {}
    for weight in spec.weights():
        if weight.is_matrix:
            matrices[weight.name] = _open_matrix(directory, weight, _scheme(directory, record, weight.name))
        else:
            small.require(weight.name, "F32", weight.shape)
            raw = small.read_bytes(weight.name, 0, weight.shape[0] * 4)
            vectors[weight.name] = np.frombuffer(raw, np.float32)
    return QuantizedCheckpoint(directory, spec, matrices, vectors, record)


def matrix_file_name(weight: str) -> str:
    """The file that holds one matrix."""
    return f"{weight}.safetensors"


def stored_tensors(weight: WeightSpec, scheme: Scheme) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Name to (dtype, shape) of the tensors a matrix is stored as."""
    rows, inputs = weight.shape
    if isinstance(scheme, FloatScheme):
        return {weight.name: (f"F{scheme.bits}", (rows, inputs))}
    return {
        f"{weight.name}_packed": ("I32", (rows, inputs * scheme.bits // 32)),
        f"{weight.name}_scale": (f"F{scheme.scale_bits}", (rows, scheme.groups(inputs))),
        f"{weight.name}_shape": ("I64", (2,)),
    }


def _open_matrix(directory: Path, weight: WeightSpec, scheme: Scheme) -> Matrix:
    file = SafetensorsFile.open(directory / matrix_file_name(weight.name))
    for name, (dtype, shape) in stored_tensors(weight, scheme).items():
        file.require(name, dtype, shape)
    rows, inputs = weight.shape
    match scheme:
        case IntegerScheme():
            return IntegerMatrix(weight.name, (rows, inputs), scheme, file)
        case FloatScheme():
            return FloatMatrix(weight.name, (rows, inputs), scheme, file)


def _scheme(directory: Path, record: Mapping[str, Any], name: str) -> Scheme:
    label = record["schemes"].get(name)
    if label not in SCHEMES:
        raise QuantizedCheckpointError(
            directory / RECORD_NAME,
            f"weight {name} has scheme {label!r}",
            "delete the directory and quantise again",
        )
    return SCHEMES[label]
