"""processor_config.json as a whole, and how its numbers are held against config.json's.

Not about what is in it for pictures (`processor_files`) or sounds (`sound_processor_files`).
"""

from __future__ import annotations

from exporter.checkpoints.files.checkpoint_directory import CheckpointDirectory
from exporter.checkpoints.files.hub_layout import PROCESSOR
from exporter.errors import SpecError
from exporter.models.config import StrictConfig
from runtimes.excerpt import excerpt

FETCH = "correct it, or fetch the checkpoint's processor files again"


def whole_processor(directory: CheckpointDirectory) -> StrictConfig:
    """The file of all processors; nothing where there is none."""
    path = directory.path / PROCESSOR
    return StrictConfig(str(path), directory.json(PROCESSOR) if directory.has(PROCESSOR) else {}, path)


def expect_as_configured(config: StrictConfig, key: str, value: int, theirs: str) -> None:
    """The key, where present, must say what the tower does. theirs: config.json's own name for it. Raises
    SpecError."""
    if config.has(key) and config.raw[key] != value:
        said = f"is {excerpt(config.raw[key])}, and config.json has {theirs} {value}"
        raise SpecError(f"{config.where}.{key}", said, FETCH)
