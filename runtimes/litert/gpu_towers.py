"""The image tower, or the audio encoder, of a bundle on LiteRT's GPU accelerator, for a process of its own
(`gpu_process`).

Its models are compiled whole, weights inside them. Not about the decoder behind it (`gpu_session`), nor
about how samples reach the process (`multimodal.passed_files`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from runtimes.images.prepared import ImageEncoder
from runtimes.litert import image_encoder, sound_encoder
from runtimes.litert.encoder_models import EncoderModel, OpenedModels, TowerFiles
from runtimes.litert.gpu_files import gpu_tower_files
from runtimes.litert.gpu_session import WORDS, GpuArithmetic, open_compiled, wait_for_other_threads
from runtimes.manifest import EncoderArtifact, TowerName
from runtimes.sounds.prepared import SoundEncoder

FILES: Mapping[TowerName, TowerFiles] = {"vision": image_encoder.FILES, "audio": sound_encoder.FILES}


@dataclass(frozen=True)
class GpuEncoderModel(EncoderModel):
    """A run is only submitted; what comes of it is read once it is done."""

    def submit(self) -> None:
        super().submit()
        wait_for_other_threads()


@dataclass(frozen=True)
class GpuTower:
    """fully_accelerated: whether the accelerator took every operation of every model."""

    encoder: ImageEncoder | SoundEncoder
    fully_accelerated: bool


def open_tower_on_gpu(
    path: Path,
    encoder: EncoderArtifact,
    scratch: Path,
    arithmetic: GpuArithmetic,
    fits: Callable[[Path], None],
) -> GpuTower:
    """path: of the bundle. fits: raises for a file the adapter has no room for. Raises ArtifactError for a
    bundle without such a tower, and RuntimeError where LiteRT refuses it, with what it thinks of it in the
    log."""
    directory = tempfile.TemporaryDirectory(prefix="gpu-", dir=scratch)
    wanted = FILES[encoder.component]
    files, models, whole = gpu_tower_files(path, Path(directory.name), wanted), {}, True
    for name, file in files.items():
        fits(file)
        compiled = open_compiled(file, arithmetic)
        whole = whole and bool(compiled.is_fully_accelerated())
        models[name] = GpuEncoderModel.of(compiled, path, wanted.needed[name])
    opened = OpenedModels(models, files, WORDS[arithmetic], directory)
    if encoder.component == "vision":
        return GpuTower(image_encoder.LiteRtImageEncoder(opened), whole)
    return GpuTower(sound_encoder.LiteRtSoundEncoder.of(opened, path, encoder.soft_tokens), whole)
