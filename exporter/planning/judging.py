"""`judge`: a device's verdict on the artifacts of one plan, with the sentence that says why.

The same before an export, from predicted sizes, and after it, from those of what was written. Not about
predicting (`exporter.planning.on_device`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from exporter.byte_size import in_one_unit
from exporter.listing import listed
from exporter.models.text.spec import ModelSpec
from exporter.planning.device_profile import DeviceProfile
from exporter.planning.device_verdict import FITS, ArtifactOnDevice, DeviceVerdict, Fit
from exporter.planning.fidelity import fidelity_of, is_below
from exporter.planning.lowered_schemes import lowered_schemes
from exporter.planning.on_device import (
    WrittenSizes,
    artifact_on_device,
    beyond_buffer,
    missed_gates,
)
from exporter.planning.plan import Plan
from runtimes.formats import Format

WORDS: dict[Fit, str] = {
    "fits": "fits",
    "fits with entitlement": "fits with the increased-memory-limit entitlement, which is a request",
    "may not fit": "may not fit",
    "does not fit": "does not fit",
}


def judge(spec: ModelSpec, plan: Plan, profile: DeviceProfile, sizes: WrittenSizes) -> DeviceVerdict | None:
    """None for a device that has a runtime for none of the plan's formats."""
    formats = tuple(each for each in plan.variant.formats if each in profile.runtimes)
    if not formats:
        return None
    artifacts = tuple(artifact_on_device(spec, plan, profile, each, sizes) for each in formats)
    missed = {each.format: missed_gates(spec, plan, profile, each, sizes) for each in artifacts}
    fits = {each.format: _fit(profile, each.most_bytes, missed[each.format]) for each in artifacts}
    required = [each for each in artifacts if each.format in profile.gates.formats]
    decides = _worst(required, fits) if required else _best(artifacts, fits)
    return DeviceVerdict(
        profile=profile.name,
        title=profile.title,
        fit=fits[decides.format],
        below_fidelity=_below_fidelity(spec, plan, profile),
        recipe=plan.variant.recipe.name,
        context=plan.variant.context,
        metric=profile.memory.metric,
        budget_bytes=profile.budget,
        budget_with_entitlement_bytes=profile.budget_with_entitlement,
        sourced=rests_on_sources(profile),
        artifacts=(decides, *(each for each in artifacts if each is not decides)),
        reason=" ".join(
            (
                _decided(profile, decides, fits[decides.format], missed[decides.format]),
                *_beside(decides, [each.format for each in required], missed),
                *_notes(spec, plan, profile, decides),
            )
        ),
    )


def of_worst_format(verdicts: Sequence[DeviceVerdict], profile: DeviceProfile) -> DeviceVerdict:
    """Of a device's verdicts on several releases, each of other formats: as all that the profile requires
    have to fit, the worst that one of those decides; of equals one below the fidelity asked for."""
    required = [each for each in verdicts if each.artifacts[0].format in profile.gates.formats]
    return max(
        required or verdicts[:1],
        key=lambda each: (FITS.index(each.fit), each.below_fidelity is not None),
    )


def rests_on_sources(profile: DeviceProfile) -> bool:
    """Whether what a device has of memory, on which its verdict rests, names a source that was read."""
    memory = profile.memory
    facts = (
        [memory.app] if memory.app_with_entitlement is None else [memory.app, memory.app_with_entitlement]
    )
    return all(fact.status == "sourced" for fact in facts)


def _fit(profile: DeviceProfile, most: int, missed: tuple[str, ...]) -> Fit:
    """most: bytes at the peak with the prediction's error. missed: gates, by prediction."""
    if missed:
        return "does not fit"
    if most <= profile.budget:
        return "fits"
    return "fits with entitlement" if most <= profile.most_allowed else "may not fit"


def _worst(required: Sequence[ArtifactOnDevice], fits: Mapping[Format, Fit]) -> ArtifactOnDevice:
    """Of formats that all have to fit: what is not run as it is meant to is worse than what is."""
    return max(
        required,
        key=lambda each: (FITS.index(fits[each.format]), each.instead_of_gpu is not None, each.most_bytes),
    )


def _best(artifacts: Sequence[ArtifactOnDevice], fits: Mapping[Format, Fit]) -> ArtifactOnDevice:
    """Of formats none of which the profile requires: it takes whichever fits."""
    return min(artifacts, key=lambda each: (FITS.index(fits[each.format]), each.most_bytes))


def _decided(profile: DeviceProfile, best: ArtifactOnDevice, fit: Fit, missed: tuple[str, ...]) -> str:
    if missed:
        return f"{best.format} {WORDS[fit]}: {'; '.join(missed)}."
    limit = profile.budget if fit == "fits" else profile.most_allowed
    takes, most, there = in_one_unit(best.peak_bytes, best.most_bytes, limit)
    return (
        f"{best.where} {WORDS[fit]}: {takes} at the peak of the {there} an app may use "
        f"({profile.memory.metric}, estimate), {most} with {best.memory_error.in_words}."
    )


def _beside(
    decides: ArtifactOnDevice, required: Sequence[Format], missed: Mapping[Format, tuple[str, ...]]
) -> Iterator[str]:
    """Why one of several that are required decides, and which of the others do not fit as well."""
    if len(required) < 2:
        return
    worst = "worse" if len(required) == 2 else "worst"
    yield f"{listed(required)} are required, so the {worst} of them decides."
    for format in required:
        if format != decides.format and missed[format]:
            yield f"{format} {WORDS['does not fit']} either: {'; '.join(missed[format])}."


def _notes(spec: ModelSpec, plan: Plan, profile: DeviceProfile, best: ArtifactOnDevice) -> tuple[str, ...]:
    """What else whoever ships it there should know, a sentence each."""
    notes = []
    if (below := _below_fidelity(spec, plan, profile)) is not None:
        notes.append(f"Below the fidelity asked for: {below}.")
    if best.instead_of_gpu is not None:
        notes.append(f"Not on its GPU: {beyond_buffer(spec, plan, profile, best.format)}.")
    return (*notes, *plan.variant.notes.get(profile.name, ()))


def _below_fidelity(spec: ModelSpec, plan: Plan, profile: DeviceProfile) -> str | None:
    """By what, clauses; None where it is all that the profile asks for and the recipe promises."""
    recipe, asked = plan.variant.recipe, profile.gates.fidelity
    promised = fidelity_of(recipe)
    clauses = []
    if is_below(promised, asked):
        clauses.append(f"{recipe.name} is {promised}, and the profile asks for {asked} or better")
    if (lowered := lowered_schemes(spec, plan)) is not None:
        clauses.append(lowered)
    return "; ".join(clauses) or None
