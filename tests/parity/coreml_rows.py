"""Tiny Core ML releases that take images and sounds, each made once; and prompts for them."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from exporter.lowering.coreml.lowering import CoreMlLowering
from exporter.lowering.coreml.tower_package import ordered_towers, write_tower
from exporter.lowering.interface import ImageOrder, LoweringOrder, SoundOrder
from exporter.models.audio.spec import AudioSpec, ConformerSpec
from exporter.models.vision.spec import SiglipSpec, VisionSpec
from exporter.quantization.store.checkpoint import IntegerMatrix, QuantizedCheckpoint
from exporter.quantization.store.unpacked_weights import UnpackedWeights
from exporter.reference.merged_logits import AskedPrompt, merged_logits
from exporter.reference.reference_tower import ReferenceTower
from runtimes.encoder import EncodedRows
from runtimes.images.prepared import PreparedImage
from runtimes.images.processing import ImageMarks, ImageProcessing
from runtimes.manifest import Artifact, EncoderArtifact, TowerName
from runtimes.multimodal.session import PlacedRows
from runtimes.opening import EncoderOpening, MilArithmetic
from runtimes.session import Tokens
from runtimes.sounds.prepared import PreparedSound
from runtimes.sounds.processing import SoundMarks, SoundProcessing
from tests.fakes import silent
from tests.image_processing import patching, squashing
from tests.sound_processing import pieces, spectra
from tests.tiny import WINDOW
from tests.tiny_encoders import SOUND_BEGIN, SOUND_END, SOUND_SOFT, TINY_ENCODERS, random_features
from tests.tiny_image_stores import tiny_image_store
from tests.tiny_releases import lowering_order
from tests.tiny_towers import BEGIN, END, SOFT, TINY_TOWERS, random_picture

CONTEXT, CHUNK, SOFT_TOKENS, SOUND_SOFT_TOKENS = 96, 7, 6, 12
SQUARES = (3, 2)
MARKS = ImageMarks(SOFT, BEGIN, END, line_breaks=False, placeholder="<image>")


@dataclass(frozen=True)
class RowsRelease:
    """A written release, and the directory that keeps it while this lives."""

    kind: str
    release: Path
    checkpoint: QuantizedCheckpoint
    artifact: Artifact
    encoders: Mapping[TowerName, EncoderArtifact]
    directory: tempfile.TemporaryDirectory[str]

    def opening(self, arithmetic: MilArithmetic = "fp32", tower: TowerName = "vision") -> EncoderOpening:
        return EncoderOpening(self.release, self.encoders[tower], self.artifact, 1, arithmetic)

    @property
    def tower(self) -> VisionSpec:
        return self.checkpoint.components["vision"].spec

    @property
    def encoder(self) -> AudioSpec:
        return self.checkpoint.components["audio"].spec

    def reference(self, tower: TowerName = "vision") -> ReferenceTower:
        """transformers' tower of what the package holds."""
        return ReferenceTower(_AsStored(self.checkpoint), self.checkpoint.components[tower].spec)


@functools.cache
def seeing(kind: str) -> RowsRelease:
    """Decoder and image tower, and the audio encoder of kinds that have one."""
    return _lowered(kind, *_ordered(kind, hears=kind in TINY_ENCODERS))


@functools.cache
def hearing(kind: str) -> RowsRelease:
    """Decoder and audio encoder, of a checkpoint that sees too."""
    return _lowered(kind, *_ordered(kind, sees=False, hears=True))


@functools.cache
def tower_alone(kind: str, tower: TowerName = "vision", scheme: str = "int8-channel") -> RowsRelease:
    """Without the decoder's package. scheme: of the text, from which the tower's follow."""
    directory, order = _ordered(kind, tower == "vision", tower == "audio", scheme)
    release = Path(directory.name) / "release"
    (encoder,), (ordered,) = CoreMlLowering().encoders(order), ordered_towers(order)
    write_tower(ordered, release / encoder.path, order, silent)
    artifact = Artifact("text", "coreml", encoder.decoder, CONTEXT, 0, CHUNK, "all")
    return RowsRelease(kind, release, order.checkpoint, artifact, {tower: encoder}, directory)


def _lowered(kind: str, directory: tempfile.TemporaryDirectory[str], order: LoweringOrder) -> RowsRelease:
    lowering, release = CoreMlLowering(), Path(directory.name) / "release"
    (artifact,) = lowering.lower(order, release, silent)
    encoders = {each.component: each for each in lowering.encoders(order)}
    return RowsRelease(kind, release, order.checkpoint, artifact, encoders, directory)


def _ordered(
    kind: str, sees: bool = True, hears: bool = False, scheme: str = "int8-channel"
) -> tuple[tempfile.TemporaryDirectory[str], LoweringOrder]:
    """A directory with an empty `release` in it, and what is to be put there."""
    directory = tempfile.TemporaryDirectory()
    root = Path(directory.name)
    (root / "release").mkdir()
    checkpoint = tiny_image_store(root, kind, scheme, sound=hears)
    order = lowering_order(
        checkpoint,
        root,
        context=CONTEXT,
        prefill_chunk=CHUNK,
        images=ImageOrder(processing(kind)) if sees else None,
        sounds=SoundOrder(sound_processing(kind)) if hears else None,
    )
    return directory, order


def sound_processing(kind: str) -> SoundProcessing:
    make = pieces if kind == "Gemma 4 12B" else spectra
    return make(SOUND_SOFT_TOKENS, SoundMarks(SOUND_SOFT, SOUND_BEGIN, SOUND_END, "<sound>"))


def processing(kind: str) -> ImageProcessing:
    spec = TINY_TOWERS[kind]().spec
    if isinstance(spec, SiglipSpec):
        return squashing(spec.image_size, spec.soft_tokens, MARKS)
    return patching(SOFT_TOKENS, merged=kind == "Gemma 4 12B", marks=MARKS)


@dataclass(frozen=True)
class _AsStored:
    """Satisfies `ReferenceWeights` for a tower: the store's matrices, and vectors as half precision has
    them, which is how a program does."""

    checkpoint: QuantizedCheckpoint
    description: str = "transformers, stored tower"

    @property
    def architecture(self) -> Mapping[str, Any]:
        return {}

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {}

    def rows(self, name: str, start: int, stop: int) -> Tensor:
        matrix = self.checkpoint.matrices.get(name)
        if matrix is not None:
            return torch.from_numpy(matrix.values(start, stop))
        vector = self.checkpoint.vectors[name][start:stop]
        return torch.from_numpy(vector.astype(np.float16).astype(np.float32))

    def gather(self, name: str, wanted: Sequence[int]) -> Tensor:
        return torch.cat([self.rows(name, row, row + 1) for row in wanted])


def logits_by_transformers(
    release: RowsRelease, tokens: Tokens, placed: tuple[PlacedRows, ...], directory: Path
) -> NDArray[np.float32]:
    """Of every position of a prompt. directory: for the file they are in."""
    asked = AskedPrompt(tokens, placed, np.arange(len(tokens)))
    weights = UnpackedWeights(release.checkpoint)
    return merged_logits(weights, [asked], directory / "logits", silent).rows(0, len(tokens))


def check_read_back(release: RowsRelease, tower: TowerName) -> None:
    """Every matrix of the tower's package is the checkpoint's."""
    left = dict(release.checkpoint.components[tower].matrices)
    for rows in CoreMlLowering().read_back(release.release, release.encoders[tower]):
        matrix = left.pop(rows.weight)
        if isinstance(matrix, IntegerMatrix):
            np.testing.assert_array_equal(rows.codes, matrix.codes(0, matrix.shape[0]))
            np.testing.assert_array_equal(rows.scales, matrix.scales(0, matrix.shape[0]))
        else:
            np.testing.assert_array_equal(rows.values, matrix.values(0, matrix.shape[0]))
    assert not left


def pictures(spec: VisionSpec) -> tuple[PreparedImage, PreparedImage]:
    """Two of one size without padding; a SigLIP's are of its own."""
    picture = random_picture(spec, squares=SQUARES, budget=SOFT_TOKENS)
    positions = None if picture.positions is None else picture.positions.numpy().astype(np.int32)
    first = PreparedImage(picture.pixels.numpy(), positions, picture.count)
    return first, PreparedImage(np.flip(first.pixels, -1).copy(), positions, picture.count)


def prompt(rows: tuple[EncodedRows, EncodedRows]) -> tuple[Tokens, tuple[PlacedRows, PlacedRows]]:
    """A picture right behind the beginning, text past the window, a second picture, text."""
    text = np.random.default_rng(3).integers(6, 262, WINDOW + 16).tolist()
    images = [[BEGIN, *[SOFT] * len(each), END] for each in rows]
    tokens = [2, *images[0], *text[: WINDOW + 5], *images[1], *text[WINDOW + 5 :]]
    second = 1 + len(images[0]) + WINDOW + 5 + 1
    return np.array(tokens, np.int32), (PlacedRows(2, rows[0]), PlacedRows(second, rows[1]))


def sound(spec: AudioSpec, tokens: int) -> PreparedSound:
    """Noise that so many soft tokens come of; of spectra, the last one of a single frame."""
    frames = 4 * tokens - 3 if isinstance(spec, ConformerSpec) else tokens
    return PreparedSound(random_features(spec, frames, frames).features.numpy(), tokens)
