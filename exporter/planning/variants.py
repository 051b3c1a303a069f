"""`Variant`: one way to ship a checkpoint.

A job may have several. Not about whether it can be done (`plan`), or fits a device (`planner`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from exporter.planning.device_profile import DeviceProfile
from exporter.planning.recipe import Recipe
from runtimes.formats import Accelerator, Format
from runtimes.sounds.processing import SoundLength


@dataclass(frozen=True)
class Variant:
    """name: of the target or device it was asked for. context: positions of the KV caches. devices: those
    it is meant for, none where a release is only checked again. accelerators: what of them each format is
    meant for, the CPU where nothing is said. soft_tokens: of an image at most, None where none are taken.
    sound: the longest that is heard, None where no format hears any. notes: by device, what planning found
    of it that the artifacts do not show, a sentence each."""

    name: str
    recipe: Recipe
    context: int
    formats: tuple[Format, ...]
    devices: tuple[DeviceProfile, ...]
    accelerators: Mapping[Format, Accelerator] = field(default_factory=dict)
    soft_tokens: int | None = None
    sound: SoundLength | None = None
    notes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
