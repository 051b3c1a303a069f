"""The image tower of a bundle on LiteRT's GPU accelerator, for a process of its own (`gpu_process`).

Its models are compiled whole, weights inside them. Not about the decoder behind it (`gpu_session`), nor
about how pictures reach the process (`gpu_pictures`).
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from runtimes.litert.encoder_models import EncoderModel, OpenedModels
from runtimes.litert.gpu_files import gpu_vision_files, require_room
from runtimes.litert.gpu_session import WORDS, GpuArithmetic, open_compiled, wait_for_other_threads
from runtimes.litert.image_encoder import FILES, LiteRtImageEncoder


@dataclass(frozen=True)
class GpuEncoderModel(EncoderModel):
    """A run is only submitted; what comes of it is read once it is done."""

    def submit(self) -> None:
        super().submit()
        wait_for_other_threads()


@dataclass(frozen=True)
class GpuTower:
    """fully_accelerated: whether the accelerator took every operation of every model."""

    encoder: LiteRtImageEncoder
    fully_accelerated: bool


def open_tower_on_gpu(
    path: Path, scratch: Path, arithmetic: GpuArithmetic, largest_buffer: int, adapter: str
) -> GpuTower:
    """Raises ArtifactError for a bundle without a tower, BeyondAdapter for one the adapter has no room for,
    and RuntimeError where LiteRT refuses it, with what it thinks of it in the log."""
    directory = tempfile.TemporaryDirectory(prefix="gpu-", dir=scratch)
    files, models, whole = gpu_vision_files(path, Path(directory.name)), {}, True
    for name, file in files.items():
        require_room(path, file, arithmetic == "fp16", largest_buffer, adapter)
        compiled = open_compiled(file, arithmetic)
        whole = whole and bool(compiled.is_fully_accelerated())
        models[name] = GpuEncoderModel.of(compiled, path, FILES.needed[name])
    return GpuTower(LiteRtImageEncoder(OpenedModels(models, files, WORDS[arithmetic], directory)), whole)
