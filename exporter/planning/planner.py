"""`Planner`: for each device the best recipe and the longest context that fit it, and why not a better one.

    (1) candidates in order, each made into plans
    (2) formats that no device requires and that may not fit are left out of it; what is left is out for
        what it promises, for what a runtime cannot carry, or for a gate it misses
    (3) the first that is in and fits with the error of predicting memory
    (4) where none is: of those that fit by prediction alone the one with most room
    (5) where none does: the nearest that would beyond the gates, and a plan all the same for whoever wants
        it anyway: of what misses nothing but the fidelity asked for, else of the last that competed

Nothing is read but shapes. Not about trying a candidate (`exporter.planning.trials`), nor about formats
left out (`exporter.planning.optional_formats`), nor about what can be asked for where none is in
(`exporter.planning.asking_for_less`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from exporter.errors import PlanError
from exporter.planning.asking_for_less import nearest_fit
from exporter.planning.candidates import AskedFor, Candidate, competing, formats_of, soft_tokens_of
from exporter.planning.device_notes import with_notes
from exporter.planning.device_profile import DeviceProfile
from exporter.planning.device_verdict import ArtifactOnDevice
from exporter.planning.nearest_fit import NearestFit
from exporter.planning.optional_formats import settled
from exporter.planning.plan import Plan
from exporter.planning.planned_model import PlannedModel
from exporter.planning.profiles import Target
from exporter.planning.served_together import Alone, ByDevice, Rejected, alone_notes, named
from exporter.planning.trials import Made, Trial, Trials


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
class _Tried:
    """A candidate that misses no gate and may not fit all the same. at: its place among the rejected.
    share: of what an app may use on the device that has least room for it."""

    made: Made
    at: int
    share: float


@dataclass(frozen=True)
class _Unfaithful:
    """A candidate that misses nothing but the fidelity asked for. doubtful: whether it may not fit. share:
    as `_Tried` has it."""

    made: Made
    misses: ByDevice
    doubtful: bool
    share: float


class Planner:
    """Plans one model for any number of targets."""

    def __init__(self, model: PlannedModel) -> None:
        self.model = model
        self._trials = Trials(model)

    def plan(self, target: Target, asked: AskedFor) -> TargetPlan:
        """Raises PlanError and RecipeError where nothing that competes can be made at all: of the first."""
        found = self._as_a_whole(target, asked)
        if not found.fits:
            nearest = nearest_fit(self._trials, self._trial(target, asked), asked)
            found = replace(found, nearest=nearest)
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
        trial, longest = self._trial(target, asked), self.model.spec.context_length
        last: tuple[Made, ByDevice] | None = None
        tight: list[_Tried] = []
        unfaithful: list[_Unfaithful] = []
        refused: PlanError | None = None
        # (1)
        for candidate in competing(target, asked, longest):
            try:
                kept, made = settled(self._trials, trial, asked, candidate)
            except PlanError as error:
                if asked.recipe is not None:
                    raise
                refused = refused or error
                rejected.append(
                    _rejected(candidate, (error.what,), (each.name for each in target.profiles))
                )
                continue
            # (2)
            misses = self._trials.misses(kept, candidate, made, forced=asked.recipe is not None)
            doubts = self._trials.doubts(kept, made)
            if not misses:
                # (3)
                if not doubts:
                    return TargetPlan(target, made.plans, tuple(rejected), {}, None)
                tight.append(_Tried(made, len(rejected), kept.share(made)))
            out = misses or doubts
            rejected.append(_rejected(candidate, named(target, out), out))
            if misses and not self._trials.misses(kept, candidate, made, forced=True):
                unfaithful.append(_Unfaithful(made, misses, bool(doubts), kept.share(made)))
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
        if unfaithful:  # those that fit for certain before others, the first of them
            best = min(unfaithful, key=lambda each: (each.doubtful, each.share if each.doubtful else 0))
            made, missed = best.made, best.misses
        return TargetPlan(target, made.plans, tuple(rejected), missed, None)

    def _trial(self, target: Target, asked: AskedFor) -> Trial:
        soft_tokens = soft_tokens_of(target, asked, self.model.soft_tokens)
        return Trial(target, formats_of(target, asked), soft_tokens)

    def on_device(self, plan: Plan, profile: DeviceProfile) -> tuple[ArtifactOnDevice, ...]:
        """What the artifacts of a plan are predicted to take of one of its devices."""
        return self._trials.on_device(plan, profile)

    def sized(self, plan: Plan) -> Plan:
        """The same plan, or one of the sizes a recipe with a budget will come to."""
        return self._trials.sized(plan)


def _rejected(candidate: Candidate, why: tuple[str, ...], devices: Iterable[str]) -> Rejected:
    return Rejected(candidate.recipe.name, candidate.context, why, tuple(devices))
