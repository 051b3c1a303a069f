"""`TowersRead`: what a directory holds beside its text model, as far as it is wanted.

An image tower and an audio encoder each need to be described by config.json and stored in the files, with a
processor's files that say how a picture or a sound is prepared. One that is described and not stored ends
the export; one that is stored and not described is left out and told of, as far as transformers does
without it. Not about the text model (`source`), nor about how a tower's tensors lie in a file
(`tower_tensors`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from exporter.checkpoints.files.checkpoint_directory import CheckpointDirectory
from exporter.checkpoints.files.hub_layout import CONFIG
from exporter.checkpoints.files.tensor_set import require_exactly
from exporter.checkpoints.files.tensor_values import FLOAT_DTYPES
from exporter.checkpoints.huggingface.packed_matrices import PACKED_DTYPES, PackedMatrix, take_packed
from exporter.checkpoints.huggingface.processor_files import read_image_processing
from exporter.checkpoints.huggingface.quantization_config import packed_layouts
from exporter.checkpoints.huggingface.sound_processor_files import sound_processing_of
from exporter.checkpoints.huggingface.tensor_views import TensorView, described
from exporter.checkpoints.huggingface.tower_tensors import tower_tensors, tower_views
from exporter.checkpoints.huggingface.weight_files import StoredTensor
from exporter.checkpoints.interface import SourceTensor
from exporter.checkpoints.multimodal import IMAGE_PARTS, SOUND_PARTS, TextConfig
from exporter.checkpoints.text_tensors import TextTensors
from exporter.errors import CheckpointError, SpecError
from exporter.models.audio.families import AUDIO, has_audio, read_audio
from exporter.models.audio.spec import AudioSpec
from exporter.models.components import AudioComponent, VisionComponent
from exporter.models.text.spec import ModelSpec
from exporter.models.vision.families import VISION, has_vision, read_vision
from exporter.models.vision.spec import VisionSpec
from runtimes.images.processing import ImageProcessing
from runtimes.manifest import ComponentName
from runtimes.sounds.processing import SoundProcessing

UNUSED_HEAD = "pooling head of the vision tower, which Gemma does not use"
# Whose class makes an image tower whatever config.json says: of transformers' own numbers, if it says none.
NEVER_BLIND = ("gemma3",)


@dataclass(frozen=True)
class StoredWeights:
    """Of one component. unused: stored names it does without."""

    tensors: Mapping[str, SourceTensor] = field(default_factory=dict)
    views: Mapping[str, TensorView] = field(default_factory=dict)
    packed: Mapping[str, PackedMatrix] = field(default_factory=dict)
    unused: tuple[str, ...] = ()


@dataclass(frozen=True)
class VisionFound:
    """component, images: None where there is no image tower, or none that is wanted. parts: what of the
    directory it is made of."""

    component: VisionComponent | None = None
    weights: StoredWeights = field(default_factory=StoredWeights)
    images: ImageProcessing | None = None
    parts: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class AudioFound:
    """The same of an audio encoder."""

    component: AudioComponent | None = None
    weights: StoredWeights = field(default_factory=StoredWeights)
    sounds: SoundProcessing | None = None
    parts: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class TowersRead:
    """left_out: what of the directory is in neither tower, nor in the text model."""

    vision: VisionFound
    audio: AudioFound
    left_out: Mapping[str, tuple[str, ...]]

    @property
    def weights(self) -> tuple[StoredWeights, ...]:
        return (self.vision.weights, self.audio.weights)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What was taken from transformers, and why a tower is left out, a sentence each."""
        return (*self.vision.remarks, *self.audio.remarks)


@dataclass(frozen=True)
class _Half:
    """Words for a tower of which only the description or only weights are there. without: what to do to
    have none."""

    key: str
    name: str
    taken: str
    without: str


IMAGES = _Half(VISION, "an image tower", "images", "leave images out with --components text or text,audio")
SOUNDS = _Half(
    AUDIO, "an audio encoder", "sounds", "leave sounds out with --components text or text,vision"
)


@dataclass(frozen=True)
class TowerReader:
    """directory, config: config.json whole, and what the text model's reader made of both. everything: by
    stored name."""

    directory: CheckpointDirectory
    config: Mapping[str, Any]
    text: TextConfig
    found: TextTensors
    everything: Mapping[str, StoredTensor]

    def read(self, wanted: Collection[ComponentName]) -> TowersRead:
        """Raises SpecError and CheckpointError."""
        vision = self._vision() if "vision" in wanted else VisionFound()
        audio = self._audio() if "audio" in wanted else AudioFound()
        left_out = self.found.left_out_but((*vision.parts, *audio.parts))
        unused = vision.weights.unused
        return TowersRead(vision, audio, left_out | ({UNUSED_HEAD: unused} if unused else {}))

    def _vision(self) -> VisionFound:
        described, named = has_vision(self.config), self.found.of_images
        if not (described and named):
            return VisionFound(remarks=self._half_there(IMAGES, described, named))
        where = self.directory.path / CONFIG
        read = read_vision(self.config, self.text.config, str(where), where)
        how = read_image_processing(self.directory, read.spec)
        return VisionFound(
            VisionComponent(read.spec),
            self._weights(read.spec, named),
            how.processing,
            IMAGE_PARTS,
            (*read.remarks, *how.remarks),
        )

    def _audio(self) -> AudioFound:
        described, named = has_audio(self.config), self.found.of_sounds
        if not (described and named):
            return AudioFound(remarks=self._half_there(SOUNDS, described, named))
        where = self.directory.path / CONFIG
        read = read_audio(self.config, self.text.config, str(where), where)
        how = sound_processing_of(self.directory, read.spec)
        return AudioFound(
            AudioComponent(read.spec),
            self._weights(read.spec, named),
            how.processing,
            SOUND_PARTS,
            (*read.remarks, *how.remarks),
        )

    def _half_there(self, half: _Half, described: bool, named: Mapping[str, str]) -> tuple[str, ...]:
        """That weights of a tower are left out, a sentence; nothing where there are none. Raises
        CheckpointError for a tower without weights, SpecError for weights that the family is never
        without a description of."""
        where = f"{self.directory.path / CONFIG}.{half.key}"
        if described:
            raise CheckpointError(
                where,
                f"describes {half.name}, and no file has a tensor of it",
                f"fetch the checkpoint again if the download is incomplete, or {half.without}",
            )
        if not named:
            return ()
        family = str(self.config["model_type"])
        said = "is null" if half.key in self.config else "is missing"
        tensors = "a tensor" if len(named) == 1 else f"{len(named)} tensors"
        if family in NEVER_BLIND:
            raise SpecError(
                where,
                f"{said}, and the files have {tensors} of {half.name}, without whose numbers no "
                f"{family} is read",
                f"fetch config.json again, or {half.without}",
            )
        return (
            f"The checkpoint's files have {tensors} of {half.name}, and {half.key} of its config.json "
            f"{said}: that is left out, as transformers leaves it out, and no {half.taken} are taken. If "
            "they should be, mend config.json.",
        )

    def _weights(self, spec: VisionSpec | AudioSpec, named: Mapping[str, str]) -> StoredWeights:
        path = self.directory.path
        stored = tower_tensors(named, self.everything, spec, path)
        used = {tensor.header.name for tensor in stored.values()}
        unused = tuple(name for name in named.values() if name not in used)
        packed = take_packed(stored, packed_layouts(self.config, str(path / CONFIG)))
        views = tower_views(stored, spec)
        return StoredWeights(exactly(spec, views, packed, path), views, packed, unused)


def exactly(
    spec: ModelSpec | VisionSpec | AudioSpec,
    views: Mapping[str, TensorView],
    packed: Mapping[str, PackedMatrix],
    where: object,
) -> dict[str, SourceTensor]:
    """Raises CheckpointError unless these are the spec's weights."""
    there = {name: described(name, view) for name, view in views.items()}
    there |= {name: matrix.tensor for name, matrix in packed.items()}
    return require_exactly(spec, there, (*FLOAT_DTYPES, *PACKED_DTYPES.values()), where)
