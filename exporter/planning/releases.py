"""`plan_releases`: what several targets come to together: one release for each variant that differs.

Devices whose best recipe, context and formats are the same share a release. A device on which nothing fits
gets none, and its verdict says what would. Not about what fits one target (`exporter.planning.planner`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from exporter.errors import PlanError
from exporter.formats.table import takes_images, takes_sounds
from exporter.listing import listed
from exporter.planning.candidates import AskedFor, accelerators_of, formats_of
from exporter.planning.device_profile import DeviceProfile
from exporter.planning.device_verdict import DeviceVerdict
from exporter.planning.folder_names import folder_name
from exporter.planning.judging import judge, of_worst_format
from exporter.planning.plan import Plan
from exporter.planning.planned_model import PlannedModel
from exporter.planning.planner import Planner, TargetPlan
from exporter.planning.profiles import Target
from exporter.planning.trials import PREDICTED

TAKEN_ELSEWHERE = "leave it out, or name a --format that does: litertlm, onnx or coreml"
LONG_NAMES = 3  # devices beside the first


@dataclass(frozen=True)
class PlannedRelease:
    """label: as short as tells it from the job's others: its recipe, with context, formats and target where
    they differ. verdicts: of the devices it is meant for, from predicted sizes."""

    plan: Plan
    label: str
    verdicts: tuple[DeviceVerdict, ...]


@dataclass(frozen=True)
class PlannedReleases:
    """targets: as they were asked for. left_out: devices on which nothing fits, with what is nearest."""

    targets: tuple[TargetPlan, ...]
    releases: tuple[PlannedRelease, ...]
    left_out: tuple[DeviceVerdict, ...]


def plan_releases(
    model: PlannedModel, targets: Sequence[Target], asked: AskedFor, anyway: bool = False
) -> PlannedReleases:
    """anyway: make what does not fit too, as the last that competed. Raises as `Planner.plan`, and
    PlanError where images or sounds were asked for that none of the formats takes."""
    _require_taken(model, targets, asked)
    planner = Planner(model)
    planned = tuple(planner.plan(target, asked) for target in targets)
    made = tuple(each for each in planned if each.fits or anyway)
    plans = _merged(made)
    labels = _labels(plans)
    releases = tuple(
        PlannedRelease(plan, label, _verdicts(planner, plan))
        for plan, label in zip(plans, labels, strict=True)
    )
    left_out = (
        _left_out(planner, each, profile)
        for each in planned
        if not (each.fits or anyway)
        for profile in each.target.profiles
    )
    rows = tuple(row for row in left_out if row is not None)
    return PlannedReleases(planned, releases, rows)


def _require_taken(model: PlannedModel, targets: Sequence[Target], asked: AskedFor) -> None:
    formats = dict.fromkeys(each for target in targets for each in formats_of(target, asked))
    sees = any(takes_images(each, model.spec) for each in formats)
    hears = any(takes_sounds(each, model.spec) for each in formats)
    named, names = asked.components or (), ", ".join(formats)
    if asked.image_tokens is not None and model.components.vision is not None and not sees:
        where = f"--image-tokens {asked.image_tokens}"
        raise PlanError(where, f"{names} takes no images of {model.name}", TAKEN_ELSEWHERE)
    for component, taken, what in (("vision", sees, "images"), ("audio", hears, "sounds")):
        if component in named and not taken:
            where = f"--components {','.join(named)}"
            raise PlanError(where, f"{names} takes no {what} of {model.name}", TAKEN_ELSEWHERE)


def _merged(planned: Sequence[TargetPlan]) -> tuple[Plan, ...]:
    """Plans of one recipe, context and formats that give every matrix the same, as one for all devices."""
    groups: dict[tuple[object, ...], list[Plan]] = {}
    for each in planned:
        for plan in each.plans:
            variant = plan.variant
            schemes = tuple(sorted((name, scheme.name) for name, scheme in plan.schemes.items()))
            key = (
                variant.recipe.name,
                variant.recipe.text,
                variant.context,
                variant.formats,
                variant.soft_tokens,
                schemes,
                plan.taken_over,
            )
            groups.setdefault(key, []).append(plan)
    return tuple(_together(group) for group in groups.values())


def _together(plans: Sequence[Plan]) -> Plan:
    first = plans[0]
    devices = tuple({each.name: each for plan in plans for each in plan.variant.devices}.values())
    variant = replace(
        first.variant,
        name="+".join(dict.fromkeys(plan.variant.name for plan in plans)),
        devices=devices,
        accelerators=accelerators_of(devices),
        notes=_all_notes(plans),
    )
    return replace(first, variant=variant)


def _all_notes(plans: Sequence[Plan]) -> dict[str, tuple[str, ...]]:
    """Each once, of a device that several of the targets have."""
    notes: dict[str, tuple[str, ...]] = {}
    for plan in plans:
        for name, said in plan.variant.notes.items():
            notes[name] = tuple(dict.fromkeys((*notes.get(name, ()), *said)))
    return notes


def _labels(plans: Sequence[Plan]) -> tuple[str, ...]:
    """No two alike, whatever their capitals: recipes, and of those that share one what else differs."""
    parts: tuple[Callable[[Plan], str], ...] = (
        lambda plan: folder_name(plan.variant.recipe.name),
        lambda plan: str(plan.variant.context),
        lambda plan: "+".join(plan.variant.formats),
        lambda plan: devices_in_short(plan.variant.name),
        lambda plan: plan.variant.name,
    )
    if len({plan.variant.soft_tokens for plan in plans}) > 1:
        parts = (*parts[:-2], lambda plan: f"{plan.variant.soft_tokens}-an-image", *parts[-2:])
    labels = tuple(parts[0](plan) for plan in plans)
    for part in parts[1:]:
        known = [label.lower() for label in labels]
        labels = tuple(
            label if known.count(label.lower()) == 1 else f"{label}-{part(plan)}"
            for label, plan in zip(labels, plans, strict=True)
        )
    return labels


def devices_in_short(name: str) -> str:
    """The devices' names in a directory's, as far as anybody wants to read them. name: of a variant."""
    first, *others = name.split("+")
    return name if len(others) < LONG_NAMES else f"{first}+{len(others)}-others"


def _verdicts(planner: Planner, plan: Plan) -> tuple[DeviceVerdict, ...]:
    sized = planner.sized(plan)
    found = (judge(planner.model.spec, sized, profile, PREDICTED) for profile in plan.variant.devices)
    name = plan.variant.recipe.name
    return tuple(replace(each, recipe=name) for each in found if each is not None)


def _left_out(planner: Planner, planned: TargetPlan, profile: DeviceProfile) -> DeviceVerdict | None:
    """The verdict on the last that competed, with what is nearest; None for a device without a runtime for
    any of the formats."""
    found = [
        verdict
        for plan in planned.plans
        if (verdict := judge(planner.model.spec, planner.sized(plan), profile, PREDICTED))
    ]
    if not found:
        return None
    worst = of_worst_format(found, profile)
    return replace(worst, reason=_why_nothing(planned, profile, fits=worst.fit != "does not fit"))


def _why_nothing(planned: TargetPlan, profile: DeviceProfile, *, fits: bool) -> str:
    """By what the last that competed misses the device, and what can be asked for; where nothing would fit,
    by what the smallest misses it, which is enough. Of several devices what there is for this one alone:
    what can be asked for is for them all, and said of them all. fits: it is not for want of room."""
    nearest = planned.nearest
    if len(planned.target.profiles) > 1:
        alone = planned.alone.get(profile.name)
        own = "" if alone is None else f" Alone (--profile {profile.name}) it would get {alone.words}."
        return _why_not_served(planned, profile, fits=fits) + own
    if nearest is not None and nearest.misses:
        return nearest.sentence
    then = "Nothing else can be made for it."
    if nearest is not None:
        then = nearest.in_words(planned.misses[profile.name])
    return f"{_why_not_served(planned, profile, fits=fits)} {then}"


def _why_not_served(planned: TargetPlan, profile: DeviceProfile, *, fits: bool) -> str:
    if (misses := planned.misses.get(profile.name)) is not None:
        nearest = planned.nearest
        own = nearest is None or nearest.below or nearest.recipe in profile.recipe_order
        which = "Nothing" if own else "None of its recipes"
        what = f"{which} that fits is as faithful as asked for" if fits else "Nothing fits"
        return f"{what}: {'; '.join(misses)}."
    return (
        f"Nothing is made: one recipe and context serve the whole target {planned.target.name}, and "
        f"nothing fits {listed(planned.misses)}."
    )


def require_releases(planned: PlannedReleases) -> None:
    """Raise PlanError where nothing fits any of the targets."""
    if planned.releases:
        return
    names = ", ".join(each.target.name for each in planned.targets)
    several = len(planned.left_out) > 1
    reasons = " ".join(
        f"{each.profile}: {each.reason}" if several else each.reason for each in planned.left_out
    )
    for each in planned.targets:
        if len(each.target.profiles) > 1 and each.nearest is not None:
            reasons += f" {each.target.name}: {each.nearest.sentence}"
    nearer = any(each.nearest is not None and not each.nearest.misses for each in planned.targets)
    less = "ask for that" if nearer else "choose a smaller model"
    raise PlanError(names, reasons.rstrip("."), f"{less}, name another device, or export it with --anyway")
