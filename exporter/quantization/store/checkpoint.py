"""`QuantizedCheckpoint`: reading the quantised checkpoint row range by row range.

Peak memory is the rows asked for: data is read with `pread`, so source pages never count as ours.
Not about what lies where (`layout`) or writing it (`writer`).
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
from exporter.errors import CheckpointError, QuantizedCheckpointError
from exporter.models.audio.spec import AudioSpec
from exporter.models.components import AudioComponent, Component, Parts, TextComponent, VisionComponent
from exporter.models.text.families import read_spec
from exporter.models.text.spec import COLUMNS_NAME, ModelSpec, Role, WeightSpec
from exporter.models.vision.spec import VisionSpec
from exporter.quantization.methods.interface import ZeroPoints
from exporter.quantization.store.journal import RECORD_NAME, read_record, recorded_audio, recorded_vision
from exporter.quantization.store.layout import (
    PACKED,
    SCALE,
    SCALE_DTYPES,
    VECTORS_NAME,
    ZERO_POINT,
    matrix_file_name,
    stored_tensors,
    tower_vectors_name,
)
from exporter.quantization.store.origins import Origin
from exporter.quantization.store.packing import Packed, rows_per_word, unpack, unpack_zero_points
from exporter.schemes import SCHEMES, FloatScheme, IntegerScheme, Scheme


@dataclass(frozen=True)
class IntegerMatrix:
    """A matrix stored as codes and scales: weight[o, i] = (code[o, i] - zero[o, g]) * scale[o, g], where g
    is i // group; zero is 0 where the scheme has no zero points."""

    name: str
    shape: tuple[int, int]
    scheme: IntegerScheme
    file: SafetensorsFile

    def packed(self, start: int, stop: int) -> Packed:
        """Offset-binary bytes of rows start to stop, [rows, in * bits / 8]."""
        row = self.shape[1] * self.scheme.bits // 8
        raw = self.file.read_bytes(f"{self.name}{PACKED}", start * row, (stop - start) * row)
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
        raw = self.file.read_bytes(f"{self.name}{SCALE}", start * row, (stop - start) * row)
        return np.frombuffer(raw, kind).reshape(stop - start, groups)

    def zero_points(self, start: int, stop: int) -> ZeroPoints | None:
        """The codes that stand for 0 in rows start to stop, [rows, groups]; None for a symmetric scheme."""
        if not self.scheme.zero_points:
            return None
        groups, per = self.scheme.groups(self.shape[1]), rows_per_word(self.scheme.bits)
        first, last = start // per, -(-stop // per)
        raw = self.file.read_bytes(
            f"{self.name}{ZERO_POINT}", first * groups * 4, (last - first) * groups * 4
        )
        words = np.frombuffer(raw, np.int32).reshape(last - first, groups)
        return unpack_zero_points(words, self.scheme.bits, stop - first * per)[start - first * per :]

    def values(self, start: int, stop: int) -> NDArray[np.float32]:
        """(code - zero) * scale in float32, [rows, in].

        Exact: 9 bits of code by 11 of mantissa, or 6 by 18 (Q6_K).
        """
        scales = self.scales(start, stop).astype(np.float32)
        codes = self.codes(start, stop).astype(np.float32)
        grouped = codes.reshape(stop - start, scales.shape[1], -1)
        if (zero_points := self.zero_points(start, stop)) is not None:
            grouped -= zero_points[:, :, None]
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
class StoredText:
    """What a store holds of the text decoder. `matrices` is in the graph's order of first use."""

    component: TextComponent
    matrices: Mapping[str, Matrix]
    vectors: Mapping[str, NDArray[np.float32]]

    @property
    def spec(self) -> ModelSpec:
        return self.component.spec

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
            for weight in self.component.weights
            if not weight.is_matrix
        }
        if self.spec.embedding_columns:
            # The head is the same matrix, divided by the same vector: its inputs make up for it.
            gains["model.norm.weight"] = gains["model.norm.weight"] * gains[COLUMNS_NAME]
        return gains


@dataclass(frozen=True)
class StoredVision:
    """What a store holds of the image tower. vectors: as the tower uses them."""

    component: VisionComponent
    matrices: Mapping[str, Matrix]
    vectors: Mapping[str, NDArray[np.float32]]

    @property
    def spec(self) -> VisionSpec:
        return self.component.spec


@dataclass(frozen=True)
class StoredAudio:
    """What a store holds of the audio encoder. vectors: as the encoder uses them."""

    component: AudioComponent
    matrices: Mapping[str, Matrix]
    vectors: Mapping[str, NDArray[np.float32]]

    @property
    def spec(self) -> AudioSpec:
        return self.component.spec


StoredTower = StoredVision | StoredAudio
StoredComponents = Parts[StoredText, StoredVision, StoredAudio]


@dataclass(frozen=True)
class QuantizedCheckpoint:
    """An opened quantised checkpoint. No two components have a weight of one name."""

    directory: Path
    components: StoredComponents
    record: Mapping[str, Any]

    @property
    def towers(self) -> tuple[StoredTower, ...]:
        """What makes rows for the text decoder."""
        return tuple(each for each in (self.components.vision, self.components.audio) if each is not None)

    @property
    def matrices(self) -> dict[str, Matrix]:
        """Of every component."""
        return {name: each for part in self.components.values() for name, each in part.matrices.items()}

    @property
    def vectors(self) -> dict[str, NDArray[np.float32]]:
        """Of every component."""
        return {name: each for part in self.components.values() for name, each in part.vectors.items()}

    @property
    def origins(self) -> dict[str, Origin]:
        """How each matrix came to be what it is."""
        return {name: Origin(how, dtype) for name, (how, dtype) in self.record["origins"].items()}


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
    text = TextComponent(spec)
    stored = StoredText(text, *_open(directory, record, text, VECTORS_NAME))
    where = directory / RECORD_NAME
    vision = audio = None
    if (tower := recorded_vision(record, where)) is not None:
        seeing = VisionComponent(tower)
        vision = StoredVision(seeing, *_open(directory, record, seeing, tower_vectors_name("vision")))
    if (encoder := recorded_audio(record, where)) is not None:
        hearing = AudioComponent(encoder)
        audio = StoredAudio(hearing, *_open(directory, record, hearing, tower_vectors_name("audio")))
    return QuantizedCheckpoint(directory, StoredComponents(stored, vision, audio), record)


def _open(
    directory: Path, record: Mapping[str, Any], component: Component, vectors_name: str
) -> tuple[dict[str, Matrix], dict[str, NDArray[np.float32]]]:
    small = SafetensorsFile.open(directory / vectors_name)
    matrices: dict[str, Matrix] = {}
    vectors: dict[str, NDArray[np.float32]] = {}
    for weight in component.weights:
        if weight.is_matrix:
            matrices[weight.name] = open_matrix(directory, weight, _scheme(directory, record, weight.name))
        else:
            small.require(weight.name, "F32", weight.shape)
            raw = small.read_bytes(weight.name, 0, weight.shape[0] * 4)
            vectors[weight.name] = np.frombuffer(raw, np.float32)
    return matrices, vectors


def open_matrix(directory: Path, weight: WeightSpec, scheme: Scheme) -> Matrix:
    """Open the file of one matrix; reads its header. Raises CheckpointError for one of another scheme."""
    file = SafetensorsFile.open(directory / matrix_file_name(weight.name))
    stored = stored_tensors(weight, scheme)
    for name, (dtype, shape) in stored.items():
        file.require(name, dtype, shape)
    if unknown := sorted(file.tensors.keys() - stored.keys()):  # zero points a reader would pass over
        raise CheckpointError(file.path, f"tensor {unknown[0]} is none of {scheme.name}", "quantise again")
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
