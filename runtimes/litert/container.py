"""Where things lie in a `.litertlm` bundle: its header, read with nothing but the standard library.

Not about what a section holds. Format (LiteRT-LM, `litertlm_header_schema.fbs`, version 1):
    0  b"LITERTLM", three u32 versions, 4 bytes of padding, u64 end of the header
    32 the header, a flatbuffer: root { 0: system metadata, 1: { 0: [section] } }
       section { 0: [pair], 1: begin u64, 2: end u64, 3: kind u8 }, pair { 0: key, 1: type u8, 2: value }
    then sections, each on a 16 KiB boundary
A section of weights holds what the model section of the same model_type keeps outside itself. Sections
may name the same bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from runtimes.errors import ArtifactError
from runtimes.litert.image_models import VISION
from runtimes.litert.sound_models import AUDIO

MAGIC = b"LITERTLM"
HEADER_START = 32
LARGEST_HEADER = 1 << 20
# Entries may share their bytes: without a limit, a header of 12 KB can have millions of them.
MOST_SECTIONS, MOST_PAIRS = 64, 64
LONGEST_TEXT = 4096
SECTION_ALIGNMENT = 16 << 10
# AnySectionDataType.TFLiteModel, TFLiteWeights, ExecutorMetadataProto
TFLITE_KIND, WEIGHTS_KIND, EXECUTOR_KIND = 3, 7, 9
STRING_TYPE = 9  # VData.StringValue
PREFILL_DECODE = "tf_lite_prefill_decode"
EMBEDDER, PER_LAYER_EMBEDDER = "tf_lite_embedder", "tf_lite_per_layer_embedder"
# Models that look tokens up, and the inputs of the text model they fill.
EMBEDDERS = {EMBEDDER: "embeddings", PER_LAYER_EMBEDDER: "per_layer_embeddings"}
WEIGHTS_GROUP = "tflite_weights"  # what models call their section of weights


@dataclass(frozen=True)
class Section:
    """Bytes begin to end of the file. kind: AnySectionDataType. model_type: of a TFLite section."""

    begin: int
    end: int
    kind: int
    model_type: str | None


@dataclass(frozen=True)
class ModelSections:
    """A model, and the weights it keeps outside its own section, if any."""

    model: Section
    weights: Section | None


@dataclass(frozen=True)
class BundleModels:
    """The models of a bundle.

    embedders: those that take tokens in place of the text model, by the input of it that they fill. towers:
    those that images and sounds go through, by what LiteRT-LM calls them. executor: what the text model's
    masks are to be, as a section has it.
    """

    text: ModelSections
    embedders: Mapping[str, ModelSections]
    towers: Mapping[str, ModelSections]
    executor: bytes | None


def is_container(path: Path) -> bool:
    """Whether the file begins as a bundle does."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def read_sections(path: Path) -> tuple[Section, ...]:
    """The bundle's sections. Raises ArtifactError where the header contradicts itself or the file."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(HEADER_START)
            if len(start) < HEADER_START or not start.startswith(MAGIC):
                raise _damaged(path, "it does not begin as a .litertlm bundle does")
            (end,) = struct.unpack_from("<Q", start, 24)
            if not HEADER_START < end <= min(size, LARGEST_HEADER):
                raise _damaged(path, f"its header claims to end at byte {end} of {size}")
            header = file.read(end - HEADER_START)
        sections = tuple(_sections(header))
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror}); export again") from error
    except (struct.error, UnicodeDecodeError, OverflowError) as error:
        raise _damaged(path, "its header points outside itself, or repeats itself") from error
    for section in sections:
        if not end <= section.begin <= section.end <= size:
            raise _damaged(path, f"a section lies at bytes {section.begin} to {section.end} of {size}")
    return sections


def bundle_models(path: Path) -> BundleModels:
    """The bundle's models. Raises ArtifactError where there is none of text, or two of a kind."""
    sections = read_sections(path)
    text = _model(path, sections, PREFILL_DECODE)
    if text is None:
        raise _damaged(path, "it holds no text model")
    embedders = {
        fills: found
        for model_type, fills in EMBEDDERS.items()
        if (found := _model(path, sections, model_type)) is not None
    }
    return BundleModels(text, embedders, _towers(path, sections), _executor(path, sections))


def tower_models(path: Path) -> dict[str, ModelSections]:
    """The bundle's models that images and sounds go through. Raises ArtifactError for two of a kind."""
    return _towers(path, read_sections(path))


def _towers(path: Path, sections: tuple[Section, ...]) -> dict[str, ModelSections]:
    names = (*VISION, *AUDIO)
    return {name: model for name in names if (model := _model(path, sections, name)) is not None}


def _executor(path: Path, sections: tuple[Section, ...]) -> bytes | None:
    found = [each for each in sections if each.kind == EXECUTOR_KIND]
    if not found:
        return None
    if len(found) > 1 or found[0].end - found[0].begin > LARGEST_HEADER:
        raise _damaged(path, "what it says of masks is there twice, or too long")
    with path.open("rb") as file:
        file.seek(found[0].begin)
        return file.read(found[0].end - found[0].begin)


def _model(path: Path, sections: tuple[Section, ...], model_type: str) -> ModelSections | None:
    def found(kind: int) -> list[Section]:
        return [each for each in sections if (each.kind, each.model_type) == (kind, model_type)]

    models, weights = found(TFLITE_KIND), found(WEIGHTS_KIND)
    if len(models) > 1 or len(weights) > 1:
        raise _damaged(path, f"it holds {model_type} twice")
    return ModelSections(models[0], weights[0] if weights else None) if models else None


@dataclass(frozen=True)
class _Table:
    """A flatbuffer table: fields by number, offsets checked by struct's own bounds."""

    data: bytes
    at: int

    def field(self, number: int) -> int | None:
        """Where field `number` lies, None where it is absent."""
        (back,) = struct.unpack_from("<i", self.data, self.at)
        fields = self.at - back
        (length,) = struct.unpack_from("<H", self.data, _inside(fields))
        slot = 4 + 2 * number
        if slot >= length:
            return None
        (offset,) = struct.unpack_from("<H", self.data, fields + slot)
        return self.at + offset if offset else None

    def number(self, number: int, form: str) -> int:
        at = self.field(number)
        value: int = 0 if at is None else struct.unpack_from(form, self.data, at)[0]
        return value

    def table(self, number: int) -> _Table | None:
        at = self.field(number)
        return None if at is None else _Table(self.data, self._follow(at))

    def tables(self, number: int, most: int) -> Iterator[_Table]:
        at = self.field(number)
        if at is None:
            return
        start = self._follow(at)
        (count,) = struct.unpack_from("<I", self.data, start)
        if count > most:
            raise struct.error(f"{count} entries, {most} at most")
        for i in range(count):
            yield _Table(self.data, self._follow(start + 4 + 4 * i))

    def text(self, number: int) -> str | None:
        at = self.field(number)
        if at is None:
            return None
        start = self._follow(at)
        (length,) = struct.unpack_from("<I", self.data, start)
        if length > min(LONGEST_TEXT, len(self.data) - start - 4):
            raise struct.error(f"a text of {length} bytes")
        return self.data[start + 4 : start + 4 + length].decode("utf-8")

    def _follow(self, at: int) -> int:
        (offset,) = struct.unpack_from("<I", self.data, at)
        target: int = at + offset
        return target


def _sections(header: bytes) -> Iterator[Section]:
    (root,) = struct.unpack_from("<I", header, 0)
    listing = _Table(header, root).table(1)
    if listing is None:
        return
    for entry in listing.tables(0, MOST_SECTIONS):
        yield Section(
            entry.number(1, "<Q"), entry.number(2, "<Q"), entry.number(3, "<B"), _model_type(entry)
        )


def _model_type(section: _Table) -> str | None:
    for pair in section.tables(0, MOST_PAIRS):
        if pair.text(0) == "model_type" and pair.number(1, "<B") == STRING_TYPE:
            value = pair.table(2)
            return None if value is None else value.text(0)
    return None


def _inside(offset: int) -> int:
    if offset < 0:  # struct would count from the end
        raise struct.error("negative offset")
    return offset


def _damaged(path: Path, what: str) -> ArtifactError:
    return ArtifactError(f"{path}: {what}; the file is damaged, export or download it again")
