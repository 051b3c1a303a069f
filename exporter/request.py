"""`ExportRequest`: what was asked for, filled from the target or device profile where nothing was said.

Not about whether it can be done (`exporter.planning.plan`) or doing it (`exporter.pipeline`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from exporter.errors import UsageError
from exporter.planning.profiles import Target, load_device, load_target
from runtimes.manifest import Format
from runtimes.session import PrefillLogits


@dataclass(frozen=True)
class ExportRequest:
    """What was asked for. model: None for the sample. adapter: a PEFT LoRA directory to merge.
    context: positions of the KV caches. validation_tokens: None for all of the evaluation text that the
    context holds. max_ram: bytes the plan may need at most. out: None for a name made of model, recipe
    and target."""

    model: str | None
    adapter: Path | None
    target: Target
    recipe: str
    context: int
    formats: tuple[Format, ...]
    prefill_logits: PrefillLogits
    validation_tokens: int | None
    max_ram: int | None
    out: Path | None
    force: bool


def make_request(
    *,
    model: str | None,
    adapter: Path | None,
    target: str | None,
    profile: str | None,
    recipe: str | None,
    context: int | None,
    formats: Sequence[Format],
    prefill_logits: PrefillLogits,
    validation_tokens: int | None,
    max_ram: int | None,
    out: Path | None,
    force: bool,
) -> ExportRequest:
    """Fill what was not said from the target or the device profile.

    Raises ProfileError for an unknown profile or target.
    """
    if profile is not None:
        meant = load_device(profile)
    elif target is not None:
        meant = load_target(target)
    else:
        raise UsageError("--target", "is missing", "name a target or a --profile")
    return ExportRequest(
        model=model,
        adapter=adapter,
        target=meant,
        recipe=recipe or meant.recipe,
        context=context if context is not None else meant.context,
        formats=tuple(dict.fromkeys(formats)) or meant.formats,
        prefill_logits=prefill_logits,
        validation_tokens=validation_tokens,
        max_ram=max_ram,
        out=out,
        force=force,
    )
