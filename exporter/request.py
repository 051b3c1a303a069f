"""`ExportRequest`: what was asked for, its devices and its recipe found and read.

Not about what the devices make of it (`exporter.planning.releases`) or doing it (`exporter.pipeline`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from exporter.errors import UsageError
from exporter.models.components import wanted_components
from exporter.planning.candidates import AskedFor
from exporter.planning.device_profile import DeviceProfile
from exporter.planning.profiles import TARGETS, Target, load_device, load_target
from exporter.planning.recipe import load_recipe
from runtimes.excerpt import plain_excerpt
from runtimes.formats import Format
from runtimes.manifest import ComponentName
from runtimes.session import PrefillLogits


@dataclass(frozen=True)
class Flags:
    """The command's flags as they were given; None and empty for what was not said.

    targets, profiles: names, or paths of profiles. model: None for the sample. adapter: a PEFT LoRA
    directory to merge. components: names with commas between them, None for all there are. image_tokens: of
    an image at most. validation_tokens: None for all of the evaluation text that the context holds.
    max_ram: bytes the plan may need at most. accelerators: execute on those that are here too. calibration:
    the user's text for finding codes, none for what ships. output: None for a name made of model, recipe
    and target. anyway: make what does not fit the devices too.
    """

    targets: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()
    model: str | None = None
    adapter: Path | None = None
    recipe: str | None = None
    context: int | None = None
    formats: tuple[Format, ...] = ()
    components: str | None = None
    image_tokens: int | None = None
    prefill_logits: PrefillLogits = "last"
    validation_tokens: int | None = None
    max_ram: int | None = None
    accelerators: bool = True
    calibration: tuple[Path, ...] = ()
    output: Path | None = None
    force: bool = False
    anyway: bool = False

    @property
    def wanted(self) -> tuple[ComponentName, ...] | None:
        """The components asked for, None for all there are."""
        return wanted_components(self.components)


@dataclass(frozen=True)
class ExportRequest:
    """targets: in the order they were named, each once."""

    flags: Flags
    targets: tuple[Target, ...]
    asked: AskedFor


def make_request(flags: Flags) -> ExportRequest:
    """Read the profiles and the recipe.

    Raises ProfileError for an unknown profile or target, RecipeError for a recipe that cannot be read,
    UsageError for devices beside targets, for two devices of one name, and for a device that runs none of
    the formats asked for.
    """
    if flags.targets and flags.profiles:
        (first, *_), own = flags.targets, TARGETS.get(flags.targets[0], ())
        raise UsageError(
            f"--target {plain_excerpt(first)}",
            "goes with no --profile: a target is served as a whole, and a profile is one device",
            f"name profiles alone (for the target {', '.join(own)}), or leave one out",
        )
    devices = [load_device(each) for each in flags.profiles]
    named = [load_target(each) for each in flags.targets] + devices
    if not named:
        raise UsageError("--target", "is missing", "name a target or a --profile")
    _require_one_of_a_name(named)
    for device in devices:
        _require_a_format(device, flags.formats)
    targets = tuple({each.name: each for each in named}.values())
    asked = AskedFor(
        None if flags.recipe is None else load_recipe(flags.recipe),
        flags.context,
        flags.formats,
        flags.image_tokens,
        flags.wanted,
    )
    return ExportRequest(flags, targets, asked)


def _require_one_of_a_name(named: Sequence[Target]) -> None:
    """Devices are told apart by name: of two files that share one, a verdict could be either's. So are
    directories, and some systems have no capitals there."""
    known: dict[str, Target] = {}
    devices: dict[str, DeviceProfile] = {}
    for target in named:
        same = known.setdefault(target.name.lower(), target) == target
        for each in target.profiles:
            same = same and devices.setdefault(each.name.lower(), each) == each
        if not same:
            raise UsageError(
                f"--profile {plain_excerpt(target.name)}",
                "is the name of two that differ, whatever their capitals",
                "give one of them another name, in its file and as its file's",
            )


def _require_a_format(device: Target, formats: tuple[Format, ...]) -> None:
    """What a device cannot run gets no verdict for it; a target's formats may be overridden."""
    (profile,) = device.profiles
    if formats and not set(formats) & set(profile.formats):
        raise UsageError(
            f"--format {' '.join(formats)}",
            f"is nothing that {plain_excerpt(profile.name)} runs",
            f"choose {' or '.join(profile.formats)}, or name a --target",
        )
