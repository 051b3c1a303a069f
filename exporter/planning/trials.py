"""`Trials`: a candidate made into plans, and held against the gates of a target's devices.

Nothing is read but shapes. Not about which candidates there are (`exporter.planning.candidates`) or which
of them is made (`exporter.planning.planner`), nor about predicting (`exporter.planning.on_device`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from exporter.formats.family import RuntimeFamily
from exporter.formats.table import takes_sounds
from exporter.models.components import towers_of
from exporter.planning.candidates import Candidate, accelerators_of, below_class, required_formats
from exporter.planning.device_profile import DeviceProfile
from exporter.planning.device_verdict import ArtifactOnDevice
from exporter.planning.lowered_schemes import lowered_schemes
from exporter.planning.mixed_recipe import candidates as schemes_that_compete
from exporter.planning.mixed_recipe import mixed_recipe, unmeasured, within_release
from exporter.planning.on_device import WrittenSizes, artifact_on_device, in_doubt, missed_gates
from exporter.planning.plan import Plan, accelerated, make_plan
from exporter.planning.planned_model import PlannedModel
from exporter.planning.profiles import Target
from exporter.planning.recipe import Recipe
from exporter.planning.sharing_out import Share, share_out
from exporter.planning.variants import Variant
from runtimes.formats import Accelerator, Format
from runtimes.manifest import ComponentName

# The tokenizer.json of Gemma 2 to 4 has 17 to 34 MB; which it is, a release says.
TEXT_BYTES = 34_000_000
PREDICTED = WrittenSizes(TEXT_BYTES, {})


@dataclass(frozen=True)
class Made:
    """A candidate's plans; by device and format what is missed, why that may not fit all the same, and what
    share of what an app may use it takes with the error of predicting it."""

    plans: tuple[Plan, ...]
    missed: Mapping[tuple[str, Format], tuple[str, ...]]
    doubts: Mapping[tuple[str, Format], str | None]
    shares: Mapping[tuple[str, Format], float]


@dataclass(frozen=True)
class Trial:
    """What candidates are tried for. formats: to be made. soft_tokens: of an image at most, None where none
    are taken."""

    target: Target
    formats: tuple[Format, ...]
    soft_tokens: int | None

    def required(self) -> Iterator[tuple[str, Format]]:
        """What must fit: devices, and formats of each."""
        for profile in self.target.profiles:
            for format in required_formats(profile, self.formats):
                yield profile.name, format

    def share(self, made: Made) -> float:
        """Of what an app may use on the device that has least room for what must fit."""
        return max(made.shares[each] for each in self.required())


class Trials:
    """Of one model, for any number of targets."""

    def __init__(self, model: PlannedModel) -> None:
        self.model = model
        self._plans: dict[tuple[object, ...], Plan] = {}
        self._mixed: dict[tuple[object, ...], Recipe] = {}
        self._parts: dict[tuple[ComponentName, ...], Trials] = {}

    def having(self, wanted: tuple[ComponentName, ...]) -> Trials:
        """Of the same model with these of its components alone."""
        if wanted not in self._parts:
            self._parts[wanted] = Trials(self.model.having(wanted))
        return self._parts[wanted]

    def made(self, trial: Trial, candidate: Candidate) -> Made:
        """Raises PlanError and RecipeError where it cannot be made, as `make_plan`."""
        shares_of_it = share_out(candidate.recipe, trial.formats)
        plans = tuple(self._plan(self._variant(trial, each, candidate.context)) for each in shares_of_it)
        missed: dict[tuple[str, Format], tuple[str, ...]] = {}
        doubts: dict[tuple[str, Format], str | None] = {}
        shares: dict[tuple[str, Format], float] = {}
        for plan in plans:
            sized = self.sized(plan)
            for profile in trial.target.profiles:
                for found in self.on_device(sized, profile):
                    key = profile.name, found.format
                    missed[key] = missed_gates(self.model.spec, sized, profile, found, PREDICTED)
                    doubts[key] = in_doubt(profile, found)
                    shares[key] = found.most_bytes / profile.most_allowed
        return Made(plans, missed, doubts, shares)

    def families(self, trial: Trial, candidate: Candidate) -> tuple[RuntimeFamily, ...]:
        """The runtimes that share a candidate, each as it is on what its formats are meant for. Raises
        PlanError as `accelerated`."""
        return accelerated(self._variant(trial, Share(candidate.recipe, trial.formats), candidate.context))

    def on_device(self, plan: Plan, profile: DeviceProfile) -> tuple[ArtifactOnDevice, ...]:
        """What the artifacts of a plan are predicted to take of one of its devices."""
        return tuple(
            artifact_on_device(self.model.spec, plan, profile, format, PREDICTED)
            for format in plan.variant.formats
            if format in profile.runtimes
        )

    def sized(self, plan: Plan) -> Plan:
        """The same plan, or one of the sizes a recipe with a budget will come to."""
        variant = plan.variant
        if variant.recipe.budget is None:
            return plan
        within = replace(variant, recipe=self._mixed_recipe(variant))
        return make_plan(self.model.components, within, self.model.held)

    def _mixed_recipe(self, variant: Variant) -> Recipe:
        """Of a recipe with a budget; devices that are told alike have one."""
        key = (variant.recipe.budget, variant.formats, _meant(variant))
        if key not in self._mixed:
            weights = self.model.components["text"].weights
            some = schemes_that_compete(weights, accelerated(variant))
            whole = within_release(variant.recipe, towers_of(self.model.components))
            self._mixed[key] = mixed_recipe(whole, weights, unmeasured(weights, some))
        return self._mixed[key]

    def misses(
        self, trial: Trial, candidate: Candidate, made: Made, *, forced: bool
    ) -> dict[str, tuple[str, ...]]:
        """By device. forced: somebody asked for the recipe, whatever it promises."""
        found: dict[str, tuple[str, ...]] = {}
        for profile in trial.target.profiles:
            below = None if forced else below_class(profile, candidate.recipe)
            clauses = [] if below is None else [below]
            for format in required_formats(profile, trial.formats):
                plan = next(each for each in made.plans if format in each.variant.formats)
                if not forced and (lowered := lowered_schemes(self.model.spec, plan)) is not None:
                    clauses.append(lowered)
                clauses += made.missed[profile.name, format]
            if clauses:
                found[profile.name] = tuple(dict.fromkeys(clauses))
        return found

    def doubts(self, trial: Trial, made: Made) -> dict[str, tuple[str, ...]]:
        """Why what must fit may not, clauses by device."""
        found: dict[str, tuple[str, ...]] = {}
        for name, format in trial.required():
            if (doubt := made.doubts[name, format]) is not None:
                found[name] = (*found.get(name, ()), doubt)
        return found

    def _variant(self, trial: Trial, share: Share, context: int) -> Variant:
        hears = any(takes_sounds(each, self.model.spec) for each in share.formats)
        return Variant(
            name=trial.target.name,
            recipe=share.recipe,
            context=context,
            formats=share.formats,
            devices=trial.target.profiles,
            accelerators=accelerators_of(trial.target.profiles),
            soft_tokens=trial.soft_tokens,
            sound=self.model.sound if hears else None,
        )

    def _plan(self, variant: Variant) -> Plan:
        """Devices that are told alike have one plan."""
        recipe, meant = variant.recipe, _meant(variant)
        key = (recipe.name, recipe.text, variant.context, variant.formats, meant, variant.soft_tokens)
        if key not in self._plans:
            self._plans[key] = make_plan(self.model.components, variant, self.model.held)
        made = self._plans[key]
        return replace(made, variant=replace(variant, context=made.variant.context))


def _meant(variant: Variant) -> tuple[Accelerator, ...]:
    return tuple(variant.accelerators.get(each, "CPU") for each in variant.formats)
