"""`ExportRequest`: what was asked for, filled from the target or device profile where nothing was said.

Not about whether it can be done (`exporter.planning.plan`) or doing it (`exporter.pipeline`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from exporter.errors import UsageError
from exporter.planning.profiles import load_device, load_target
from exporter.planning.recipe import load_recipe
from exporter.planning.variants import Variant
from runtimes.formats import Format
from runtimes.session import PrefillLogits


@dataclass(frozen=True)
class Flags:
    """The command's flags as they were given; None and empty for what was not said.

    model: None for the sample. adapter: a PEFT LoRA directory to merge. validation_tokens: None for all of
    the evaluation text that the context holds. max_ram: bytes the plan may need at most. accelerators:
    execute on those that are here too. output: None for a name made of model, recipe and target.
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
    output: Path | None = None
    force: bool = False


@dataclass(frozen=True)
class ExportRequest:
    """variant: what the flags, the target and its profiles come to."""

    flags: Flags
    variant: Variant


def make_request(flags: Flags) -> ExportRequest:
    """Fill what was not said from the target or the device profile.

    Raises ProfileError for an unknown profile or target, RecipeError for a recipe that cannot be read.
    """
    if flags.profile is not None:
        meant = load_device(flags.profile)
    elif flags.target is not None:
        meant = load_target(flags.target)
    else:
        raise UsageError("--target", "is missing", "name a target or a --profile")
    return ExportRequest(
        flags,
        Variant(
            name=meant.name,
            recipe=load_recipe(flags.recipe or meant.recipe),
            context=meant.context if flags.context is None else flags.context,
            formats=tuple(dict.fromkeys(flags.formats)) or meant.formats,
            devices=meant.profiles,
            accelerators=meant.accelerators,
        ),
    )
