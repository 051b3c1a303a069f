"""`Plan`: what an export will do, decided before any work and refused if it cannot end well.

Not about doing it. A plan is a value: a variant in, a scheme for every matrix and the bytes they take out.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from exporter.checkpoints.interface import HeldCodes
from exporter.errors import PlanError
from exporter.formats.family import RuntimeFamily
from exporter.formats.table import facts_of, families_of, family_of
from exporter.models.components import Component, Components
from exporter.models.text.spec import ModelSpec
from exporter.planning.decisions import Decision, decide, decide_tower
from exporter.planning.estimates import TowerSize, encoder_size, tower_size
from exporter.planning.media_room import remark_on_sounds, require_budget, require_room_beside
from exporter.planning.recipe import Equalization, MethodName
from exporter.planning.variants import Variant
from exporter.schemes import IntegerScheme, Scheme
from runtimes.formats import Format
from runtimes.manifest import CalibrationEntry, ComponentName

PREFILL_CHUNK = 128  # tokens a call takes where a runtime wants a fixed number of them


@dataclass(frozen=True)
class ComponentPlan:
    """schemes: canonical name to scheme, for every matrix of the component. weight_bytes: of them all.

    methods: how codes are found, for each matrix of an integer scheme that gets new ones. taken_over: those
    whose source's codes are kept. refusals: matrices whose source's codes could have been kept, or that
    would have the recipe's scheme, but for a runtime of the plan, and why. tower: what a tower comes to
    beside the text model, where images or sounds are to be taken.
    """

    schemes: Mapping[str, Scheme]
    methods: Mapping[str, MethodName]
    taken_over: frozenset[str]
    refusals: Mapping[str, str]
    weight_bytes: int
    tower: TowerSize | None = None


@dataclass(frozen=True)
class Plan:
    """variant: as asked for, its context rounded up where a runtime wants that. asked_context: as it was.
    components: what becomes of each of the model's, no two of which have a weight of one name. calibration:
    the text codes are found on, once a job has it."""

    variant: Variant
    asked_context: int
    components: Mapping[ComponentName, ComponentPlan]
    calibration: CalibrationEntry | None = None

    @property
    def prefill_chunk(self) -> int:
        return min(PREFILL_CHUNK, self.variant.context)

    def longest_call(self, format: Format, prefill_chunk: int) -> int:
        """Tokens of the longest call of a format's artifact, which its caches have room for: its prefill
        chunk, or an image with what stands around it where its tokens see each other."""
        tower, image_calls = self.image_tower, facts_of(format).image_calls
        if tower is None or tower.blocks == "none" or image_calls is None:
            return prefill_chunk
        return image_calls.tokens(tower.soft_tokens, prefill_chunk, self.variant.context)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is done otherwise than asked, and on what text codes are found, a sentence each."""
        return (*self._of_context, *self._of_calls, *remark_on_sounds(self.variant), *self._of_text)

    @property
    def _of_text(self) -> tuple[str, ...]:
        if self.calibration is None:
            return ()
        text = self.calibration
        return (
            f"Codes were found on {text.tokens:,} tokens of calibration text in {len(text.names)} domains "
            f"(SHA-256 of the tokens {text.sha256[:16]}…).",
        )

    @property
    def _of_context(self) -> tuple[str, ...]:
        context, asked = self.variant.context, self.asked_context
        wanting = [each for each in self.families if each.context_multiple > 1]
        met = [each for each in wanting if context % each.context_multiple == 0]
        found = []
        if context != asked:
            found.append(
                f"The context is {context} tokens, {asked} rounded up to a multiple of {_multiples(met)}."
            )
        if unmet := [each for each in wanting if each not in met]:
            found.append(
                f"The context of {context} tokens is no multiple of {_multiples(unmet)}, which their "
                "accelerators want: what those make of it is not known from here."
            )
        return tuple(found)

    @property
    def _of_calls(self) -> tuple[str, ...]:
        chunk, context = self.prefill_chunk, self.variant.context
        calls = {each: self.longest_call(each, chunk) for each in self.variant.formats}
        return tuple(
            f"{format}: {image_calls.in_words(call, context)}."
            for format, call in calls.items()
            if call > chunk and (image_calls := facts_of(format).image_calls) is not None
        )

    @property
    def families(self) -> tuple[RuntimeFamily, ...]:
        """The runtimes it is for, in the order of its formats."""
        return families_of(self.variant.formats)

    @property
    def schemes(self) -> dict[str, Scheme]:
        """Of every matrix of the model."""
        return {name: scheme for each in self.components.values() for name, scheme in each.schemes.items()}

    @property
    def methods(self) -> dict[str, MethodName]:
        """How codes are found, of every matrix that gets new ones."""
        return {name: method for each in self.components.values() for name, method in each.methods.items()}

    @property
    def taken_over(self) -> frozenset[str]:
        return frozenset().union(*(each.taken_over for each in self.components.values()))

    @property
    def equalization(self) -> Equalization | None:
        """The recipe's, unless codes of the text model are taken over, which are of weights as they are."""
        kept = self.components["text"].taken_over
        return None if kept else self.variant.recipe.equalization

    @property
    def refusals(self) -> dict[str, str]:
        return {name: why for each in self.components.values() for name, why in each.refusals.items()}

    @property
    def towers(self) -> tuple[TowerSize, ...]:
        """What each of its towers comes to, none where neither images nor sounds are to be taken."""
        return tuple(each.tower for each in self.components.values() if each.tower is not None)

    @property
    def image_tower(self) -> TowerSize | None:
        """The one of images, None where none are to be taken."""
        return self.components["vision"].tower if "vision" in self.components else None

    @property
    def weight_bytes(self) -> int:
        return sum(each.weight_bytes for each in self.components.values())

    def scheme_counts(self) -> dict[str, int]:
        """Scheme name to the number of matrices that have it."""
        return dict(Counter(scheme.name for scheme in self.schemes.values()))


def make_plan(components: Components, variant: Variant, held: Mapping[str, HeldCodes]) -> Plan:
    """Decide, and refuse what cannot be carried.

    held: the source's codes. Raises PlanError for a context beyond the model's, a scheme a target cannot
    carry, a matrix a scheme does not divide, or nothing to keep where the recipe keeps what is stored.
    """
    text = components["text"].spec
    _require_trained_for(text, variant.context)
    rounded = replace(variant, context=_rounded_context(variant, text.context_length))
    require_budget(components, variant.soft_tokens)
    require_room_beside(text, rounded, variant.context)
    return replace(plan_as_made(components, rounded, held), asked_context=variant.context)


def plan_as_made(components: Components, variant: Variant, held: Mapping[str, HeldCodes]) -> Plan:
    """The plan of a release that is there: its context is what it is, in whatever multiples contexts were
    when it was made. Raises as `make_plan` does."""
    families = accelerated(variant)
    text = components["text"]
    _require_trained_for(text.spec, variant.context)
    decided = decide(text.spec, variant.recipe, held, families)
    plans: dict[ComponentName, ComponentPlan] = {"text": _plan(text, variant, families, decided)}
    require_budget(components, variant.soft_tokens)
    if (tower := components.vision) is not None:
        decided = decide_tower(tower, variant.recipe, held, families)
        made = _plan(tower, variant, families, decided)
        soft_tokens = variant.soft_tokens
        size = None if soft_tokens is None else tower_size(tower.spec, made.schemes, soft_tokens)
        plans["vision"] = replace(made, tower=size)
    if (encoder := components.audio) is not None:
        made = _plan(encoder, variant, families, decide_tower(encoder, variant.recipe, held, families))
        plans["audio"] = replace(made, tower=encoder_size(encoder.spec, made.schemes))
    return Plan(variant, variant.context, plans)


def _multiples(families: Iterable[RuntimeFamily]) -> str:
    return " and ".join(f"{each.context_multiple} ({each.title})" for each in families)


def _rounded_context(variant: Variant, most: int) -> int:
    """The context in the multiples that the runtimes want; in fewer of them, or as asked, where the model
    ends before that."""
    wanted = [family.context_multiple for family in families_of(variant.formats)]
    for multiple in (math.lcm(*wanted), *sorted(wanted, reverse=True)):
        rounded = -(-variant.context // multiple) * multiple
        if rounded <= most:
            return rounded
    return variant.context


def _require_trained_for(spec: ModelSpec, context: int) -> None:
    if not 0 < context <= spec.context_length:
        raise PlanError(
            f"--context {context}",
            f"{spec.model_type} was trained for at most {spec.context_length} tokens",
            f"choose a context from 1 to {spec.context_length}",
        )


def _plan(
    component: Component,
    variant: Variant,
    families: Iterable[RuntimeFamily],
    decisions: Mapping[str, Decision],
) -> ComponentPlan:
    schemes = {name: decision.scheme for name, decision in decisions.items()}
    for family in families:
        for name, scheme in schemes.items():
            if not family.carries(scheme):
                raise PlanError(
                    f"recipe {variant.recipe.name}",
                    f"gives {name} scheme {scheme.name}, which {family.name} cannot carry unchanged "
                    f"({family.limits_of_schemes})",
                    f"choose one of {', '.join(sorted(family.schemes))} for it, or another --target",
                )
    weight_bytes = 0
    for weight in component.weights:
        if weight.is_matrix:
            scheme = schemes[weight.name]
            require_divisible(weight.name, weight.shape, scheme)
            weight_bytes += scheme.stored_bytes(weight.shape)
    taken_over = frozenset(name for name, decision in decisions.items() if decision.taken_over)
    refusals = {name: decision.refusal for name, decision in decisions.items() if decision.refusal}
    methods = {
        name: decision.method
        for name, decision in decisions.items()
        if isinstance(decision.scheme, IntegerScheme) and not decision.taken_over
    }
    return ComponentPlan(schemes, methods, taken_over, refusals, weight_bytes)


def accelerated(variant: Variant) -> tuple[RuntimeFamily, ...]:
    """The runtimes, each as it is on what its formats are meant for. Raises PlanError for an accelerator
    that no artifact of a runtime is written for."""
    found = {family.name: family for family in families_of(variant.formats)}
    for format in variant.formats:
        accelerator, family = variant.accelerators.get(format, "CPU"), family_of(format)
        if accelerator not in family.accelerators:
            raise PlanError(
                f"{variant.name}",
                f"means {format} for its {accelerator}, and what {family.title} is given here runs on "
                f"{' or '.join(family.accelerators)}",
                "name another accelerator in the profile, or another --format",
            )
        found[family.name] = found[family.name].on(accelerator)
    return tuple(found.values())


def require_divisible(name: str, shape: tuple[int, ...], scheme: Scheme) -> None:
    """Raise PlanError unless a matrix's inputs divide into the scheme's groups and packed words."""
    if not divides(shape, scheme):
        assert isinstance(scheme, IntegerScheme)
        raise PlanError(
            name,
            f"its {shape[1]} inputs do not divide into {scheme.name}'s {_inputs_together(scheme)}",
            "choose recipe int8, or another scheme for it in a recipe of your own",
        )


def divides(shape: tuple[int, ...], scheme: Scheme) -> bool:
    """Whether a matrix's inputs divide into the scheme's groups and packed words."""
    return not isinstance(scheme, IntegerScheme) or shape[1] % _inputs_together(scheme) == 0


def _inputs_together(scheme: IntegerScheme) -> int:
    return max(scheme.group or 1, 32 // scheme.bits)
