"""`Planner`: for each device the best recipe and the longest context that fit it, and why not a better one.

    (1) candidates in order, each made into plans
    (2) a candidate is out for what it promises, for what a runtime cannot carry, or for a gate it misses
    (3) the first that is in and fits with the error of predicting memory; formats that no device requires
        and that may not fit are left out of it
    (4) where none is: of those that fit by prediction alone the one with most room
    (5) where none does: the nearest that would beyond the gates, and a plan all the same for whoever wants
        it anyway

Nothing is read but shapes. Not about predicting (`exporter.planning.on_device`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from exporter.checkpoints.interface import CheckpointSource, HeldCodes
from exporter.errors import PlanError, ProfileError
from exporter.formats.table import takes_sounds
from exporter.models.components import Components, towers_of
from exporter.models.text.spec import ModelSpec
from exporter.planning.candidates import (
    AskedFor,
    Candidate,
    accelerators_of,
    below_class,
    competing,
    formats_of,
    nearby,
    required_formats,
    soft_tokens_of,
)
from exporter.planning.device_notes import left_out, with_notes
from exporter.planning.device_profile import DeviceProfile
from exporter.planning.device_verdict import ArtifactOnDevice
from exporter.planning.lowered_schemes import lowered_schemes
from exporter.planning.mixed_recipe import candidates as schemes_that_compete
from exporter.planning.mixed_recipe import mixed_recipe, unmeasured, within_release
from exporter.planning.nearest_fit import NearestFit, nearest_of
from exporter.planning.on_device import WrittenSizes, artifact_on_device, in_doubt, missed_gates
from exporter.planning.plan import Plan, accelerated, make_plan
from exporter.planning.profiles import Target
from exporter.planning.served_together import Alone, ByDevice, Rejected, alone_notes, named
from exporter.planning.sharing_out import share_out
from exporter.planning.variants import Variant
from runtimes.formats import Accelerator, Format
from runtimes.sounds.processing import SoundLength

# The tokenizer.json of Gemma 2 to 4 has 17 to 34 MB; which it is, a release says.
TEXT_BYTES = 34_000_000
PREDICTED = WrittenSizes(TEXT_BYTES, {})


@dataclass(frozen=True)
class PlannedModel:
    """name: short, for directories. held: codes its source has, by matrix. soft_tokens: what its processor
    makes of an image, sound: the longest its encoder hears; None where it takes none. left_out, remarks: as
    its source has them."""

    name: str
    components: Components
    held: Mapping[str, HeldCodes]
    soft_tokens: int | None = None
    sound: SoundLength | None = None
    left_out: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    @staticmethod
    def of(source: CheckpointSource) -> PlannedModel:
        """A checkpoint that is open."""
        usual = None if source.images is None else source.images.soft_tokens
        sound = None if source.sounds is None else source.sounds.longest_sound
        remarks = (*source.remarks, *source.tokens.remarks)
        return PlannedModel(
            source.name, source.components, source.held, usual, sound, source.left_out, remarks
        )

    @property
    def spec(self) -> ModelSpec:
        return self.components["text"].spec


@dataclass(frozen=True)
class TargetPlan:
    """What a target comes to. plans: one for each recipe its formats need. rejected: what competed before
    them. misses: why nothing fits, by device; empty where all is well. nearest: what fits beyond the gates,
    or misses it by least; None where something fits, and where nothing else can be made. alone: of several
    devices what each would get by itself, those for which something fits."""

    target: Target
    plans: tuple[Plan, ...]
    rejected: tuple[Rejected, ...]
    misses: ByDevice
    nearest: NearestFit | None
    alone: Mapping[str, Alone] = field(default_factory=dict)

    @property
    def fits(self) -> bool:
        return not self.misses


@dataclass(frozen=True)
class _Made:
    """A candidate's plans; by device and format what is missed, why that may not fit all the same, and what
    share of what an app may use it takes with the error of predicting it."""

    plans: tuple[Plan, ...]
    missed: Mapping[tuple[str, Format], tuple[str, ...]]
    doubts: Mapping[tuple[str, Format], str | None]
    shares: Mapping[tuple[str, Format], float]


@dataclass(frozen=True)
class _Tried:
    """A candidate that misses no gate and may not fit all the same. at: its place among the rejected.
    share: of what an app may use on the device that has least room for it."""

    made: _Made
    at: int
    share: float


class Planner:
    """Plans one model for any number of targets."""

    def __init__(self, model: PlannedModel) -> None:
        self.model = model
        self._soft_tokens: int | None = None
        self._plans: dict[tuple[object, ...], Plan] = {}

    def plan(self, target: Target, asked: AskedFor) -> TargetPlan:
        """Raises PlanError and RecipeError where nothing that competes can be made at all: of the first."""
        found = self._as_a_whole(target, asked)
        alone = dict(self._alone(target, asked))
        notes = alone_notes(target, found.plans[0], found.rejected, alone) if found.fits else {}
        return replace(found, plans=with_notes(target, found.plans, notes), alone=alone)

    def _alone(self, target: Target, asked: AskedFor) -> Iterator[tuple[str, Alone]]:
        """What each of several devices would get, where something fits it."""
        for profile in target.profiles if len(target.profiles) > 1 else ():
            by_itself = Target(profile.name, (profile,))
            if not set(formats_of(by_itself, asked)) & set(profile.runtimes):
                continue
            try:
                found = self._as_a_whole(by_itself, asked)
            except PlanError:
                continue
            if found.fits:
                first = found.plans[0]
                yield profile.name, Alone(first.variant.recipe.name, first.asked_context)

    def _as_a_whole(self, target: Target, asked: AskedFor) -> TargetPlan:
        rejected: list[Rejected] = []
        longest, formats = self.model.spec.context_length, formats_of(target, asked)
        self._soft_tokens = soft_tokens_of(target, asked, self.model.soft_tokens)
        last: tuple[_Made, ByDevice] | None = None
        tight: list[_Tried] = []
        refused: PlanError | None = None
        # (1)
        for candidate in competing(target, asked, longest):
            try:
                made = self._made(target, candidate, formats)
            except PlanError as error:
                if asked.recipe is not None:
                    raise
                refused = refused or error
                rejected.append(
                    _rejected(candidate, (error.what,), (each.name for each in target.profiles))
                )
                continue
            # (2)
            misses = self._misses(target, candidate, formats, made, forced=asked.recipe is not None)
            doubts = self._doubts(target, formats, made)
            if not misses:
                # (3)
                kept = self._kept(target, asked, formats, made)
                made = made if kept == formats else self._without(target, candidate, kept, made)
                if not doubts:
                    return TargetPlan(target, made.plans, tuple(rejected), {}, None)
                share = max(made.shares[each] for each in self._required(target, kept))
                tight.append(_Tried(made, len(rejected), share))
            out = misses or doubts
            rejected.append(_rejected(candidate, named(target, out), out))
            last = made, misses
        # (4)
        if tight:
            likely = min(tight, key=lambda each: each.share)
            others = (*rejected[: likely.at], *rejected[likely.at + 1 :])
            return TargetPlan(target, likely.made.plans, others, {}, None)
        # (5)
        if last is None:
            assert refused is not None
            raise refused
        made, missed = last
        nearest = nearest_of(self._nearby(target, asked, formats))
        return TargetPlan(target, made.plans, tuple(rejected), missed, nearest)

    def on_device(self, plan: Plan, profile: DeviceProfile) -> tuple[ArtifactOnDevice, ...]:
        """What the artifacts of a plan are predicted to take of one of its devices."""
        return tuple(
            artifact_on_device(self.model.spec, plan, profile, format, PREDICTED)
            for format in plan.variant.formats
            if format in profile.runtimes
        )

    def _made(self, target: Target, candidate: Candidate, formats: tuple[Format, ...]) -> _Made:
        meant = accelerators_of(target.profiles)
        plans = tuple(
            self._plan(
                Variant(
                    name=target.name,
                    recipe=share.recipe,
                    context=candidate.context,
                    formats=share.formats,
                    devices=target.profiles,
                    accelerators=meant,
                    soft_tokens=self._soft_tokens,
                    sound=self.model.sound if self._hears(share.formats) else None,
                )
            )
            for share in share_out(candidate.recipe, formats)
        )
        missed: dict[tuple[str, Format], tuple[str, ...]] = {}
        doubts: dict[tuple[str, Format], str | None] = {}
        shares: dict[tuple[str, Format], float] = {}
        for plan in plans:
            sized = self.sized(plan)
            for profile in target.profiles:
                for found in self.on_device(sized, profile):
                    key = profile.name, found.format
                    missed[key] = missed_gates(self.model.spec, sized, profile, found, PREDICTED)
                    doubts[key] = in_doubt(profile, found)
                    shares[key] = found.most_bytes / profile.most_allowed
        return _Made(plans, missed, doubts, shares)

    def _hears(self, formats: tuple[Format, ...]) -> bool:
        return any(takes_sounds(each, self.model.spec) for each in formats)

    def sized(self, plan: Plan) -> Plan:
        """The same plan, or one of the sizes a recipe with a budget will come to."""
        variant = plan.variant
        if variant.recipe.budget is None:
            return plan
        weights = self.model.components["text"].weights
        some = schemes_that_compete(weights, accelerated(variant))
        whole = within_release(variant.recipe, towers_of(self.model.components))
        within = replace(variant, recipe=mixed_recipe(whole, weights, unmeasured(weights, some)))
        return make_plan(self.model.components, within, self.model.held)

    def _plan(self, variant: Variant) -> Plan:
        """Devices that are told alike have one plan."""
        meant: tuple[Accelerator, ...] = tuple(
            variant.accelerators.get(each, "CPU") for each in variant.formats
        )
        recipe = variant.recipe
        key = (recipe.name, recipe.text, variant.context, variant.formats, meant, variant.soft_tokens)
        if key not in self._plans:
            self._plans[key] = make_plan(self.model.components, variant, self.model.held)
        made = self._plans[key]
        return replace(made, variant=replace(variant, context=made.variant.context))

    def _misses(
        self,
        target: Target,
        candidate: Candidate,
        formats: tuple[Format, ...],
        made: _Made,
        *,
        forced: bool,
    ) -> dict[str, tuple[str, ...]]:
        """By device. forced: somebody asked for the recipe, whatever it promises."""
        found: dict[str, tuple[str, ...]] = {}
        for profile in target.profiles:
            below = None if forced else below_class(profile, candidate.recipe)
            clauses = [] if below is None else [below]
            for format in required_formats(profile, formats):
                plan = next(each for each in made.plans if format in each.variant.formats)
                if not forced and (lowered := lowered_schemes(self.model.spec, plan)) is not None:
                    clauses.append(lowered)
                clauses += made.missed[profile.name, format]
            if clauses:
                found[profile.name] = tuple(dict.fromkeys(clauses))
        return found

    def _doubts(
        self, target: Target, formats: tuple[Format, ...], made: _Made
    ) -> dict[str, tuple[str, ...]]:
        """Why what must fit may not, clauses by device."""
        found: dict[str, tuple[str, ...]] = {}
        for name, format in self._required(target, formats):
            if (doubt := made.doubts[name, format]) is not None:
                found[name] = (*found.get(name, ()), doubt)
        return found

    def _required(self, target: Target, formats: tuple[Format, ...]) -> Iterator[tuple[str, Format]]:
        """What must fit: devices, and formats of each."""
        for profile in target.profiles:
            for format in required_formats(profile, formats):
                yield profile.name, format

    def _kept(
        self, target: Target, asked: AskedFor, formats: tuple[Format, ...], made: _Made
    ) -> tuple[Format, ...]:
        """Without those that no device requires and none certainly has room for."""
        if asked.formats:
            return formats
        required = {format for _, format in self._required(target, formats)}
        fitting = {key[1] for key, clauses in made.missed.items() if not (clauses or made.doubts[key])}
        return tuple(each for each in formats if each in required | fitting)

    def _without(
        self, target: Target, candidate: Candidate, kept: tuple[Format, ...], made: _Made
    ) -> _Made:
        """The candidate in these formats alone, with what speaks against the others as it was made."""
        found, why = self._made(target, candidate, kept), {**made.missed}
        why |= {key: (doubt,) for key, doubt in made.doubts.items() if doubt is not None and not why[key]}
        others = [format for plan in made.plans for format in plan.variant.formats if format not in kept]
        return replace(found, plans=with_notes(target, found.plans, left_out(target, others, why)))

    def _nearby(self, target: Target, asked: AskedFor, formats: tuple[Format, ...]) -> Iterator[NearestFit]:
        """What would come of asking for each by name."""
        for candidate in nearby(target, asked, self.model.spec.context_length):
            try:
                made = self._made(target, candidate, formats)
            except (PlanError, ProfileError):
                continue
            misses = self._misses(target, candidate, formats, made, forced=True)
            known = candidate.recipe == asked.recipe
            all_said = misses if known else self._misses(target, candidate, formats, made, forced=False)
            below = {
                name: tuple(each for each in clauses if each not in misses.get(name, ()))
                for name, clauses in all_said.items()
            }
            recipe = "" if known else f"--recipe {candidate.recipe.name} "
            yield NearestFit(
                recipe=candidate.recipe.name,
                context=candidate.context,
                asking=f"{recipe}--context {candidate.context}",
                below=named(target, below),
                misses=named(target, misses),
                doubts=() if misses else named(target, self._doubts(target, formats, made)),
                share=max(made.shares[each] for each in self._required(target, formats)),
                weight_bytes=sum(plan.weight_bytes for plan in made.plans),
            )


def _rejected(candidate: Candidate, why: tuple[str, ...], devices: Iterable[str]) -> Rejected:
    return Rejected(candidate.recipe.name, candidate.context, why, tuple(devices))
