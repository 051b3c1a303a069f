"""`ExportRequest`: what was asked for, filled from the target or device profile where nothing was said.

Not about whether it can be done (`exporter.planning.plan`) or doing it (`exporter.pipeline`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from exporter.errors import UsageError
from exporter.planning.profiles import load_device, load_target
from exporter.planning.recipe import load_recipe
from exporter.planning.sharing_out import share_out
from exporter.planning.variants import Variant
from runtimes.formats import Format
from runtimes.session import PrefillLogits


@dataclass(frozen=True)
class Flags:
    """The command's flags as they were given; None and empty for what was not said.

    model: None for the sample. adapter: a PEFT LoRA directory to merge. validation_tokens: None for all of
    the evaluation text that the context holds. max_ram: bytes the plan may need at most. accelerators:
    execute on those that are here too. calibration: the user's text for finding codes, none for what ships.
    output: None for a name made of model, recipe and target.
    """

    target: str | None = None
    profile: str | None = None
    model: str | None = None
    adapter: Path | None = None
    recipe: str | None = None
    context: int | None = None
    formats: tuple[Format, ...] = ()
    prefill_logits: PrefillLogits = "last"
    validation_tokens: int | None = None
    max_ram: int | None = None
    accelerators: bool = True
    calibration: tuple[Path, ...] = ()
    output: Path | None = None
    force: bool = False


@dataclass(frozen=True)
class ExportRequest:
    """variants: what the flags, the target and its profiles come to; several where formats cannot carry
    one recipe, each of another one."""

    flags: Flags
    variants: tuple[Variant, ...]


def make_request(flags: Flags) -> ExportRequest:
    """Fill what was not said from the target or the device profile.

    Raises ProfileError for an unknown profile or target, RecipeError for a recipe that cannot be read, and
    PlanError for one that is for none of the formats.
    """
    if flags.profile is not None:
        meant = load_device(flags.profile)
    elif flags.target is not None:
        meant = load_target(flags.target)
    else:
        raise UsageError("--target", "is missing", "name a target or a --profile")
    recipe = load_recipe(flags.recipe or meant.recipe)
    variants = (
        Variant(
            name=meant.name,
            recipe=share.recipe,
            context=meant.context if flags.context is None else flags.context,
            formats=share.formats,
            devices=meant.profiles,
            accelerators=meant.accelerators,
        )
        for share in share_out(recipe, tuple(dict.fromkeys(flags.formats)) or meant.formats)
    )
    return ExportRequest(flags, tuple(variants))
