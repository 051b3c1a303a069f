"""`Outlook`: everything a plan says before any work, as a value that becomes a table or JSON.

For each device its verdict and what was rejected on the way; for each release what it would hold; what the
export itself takes of this machine; and a key under which what it would make can be kept. Weights are not
read, and a published model is not fetched. Not about deciding (`exporter.planning.planner`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from exporter import __version__
from exporter.checkpoints.open import open_checkpoint, published_name
from exporter.formats.table import facts_of, takes_images
from exporter.models.text.spec import ModelSpec
from exporter.planning.candidates import AskedFor
from exporter.planning.device_profile import DeviceProfile
from exporter.planning.device_verdict import DeviceVerdict
from exporter.planning.judging import of_worst_format
from exporter.planning.media_room import sound_that_fits
from exporter.planning.memory import CALIBRATION, StageMemory, export_memory
from exporter.planning.plan import Plan
from exporter.planning.planned_model import PlannedModel
from exporter.planning.profiles import Target
from exporter.planning.published_model import published_model
from exporter.planning.releases import PlannedReleases, plan_releases
from exporter.planning.served_together import Rejected
from exporter.planning.source_identity import source_identity, versions_installed
from runtimes.formats import Format
from runtimes.manifest import ComponentName
from runtimes.sounds.processing import SoundLength

OUTLOOK_SCHEMA_VERSION = 7

LONGEST_TEXT = 2112  # tokens of the longest text that is compared, in any vocabulary
EVALUATED = 1400  # tokens of the one whose logits are kept
LOGITS_FILES = 4  # of each of them, beside each other
OF_ANY_FORMAT = ("accelerate", "compressed-tensors", "safetensors", "tokenizers", "torch", "transformers")


@dataclass(frozen=True)
class Served:
    """A device's verdict on one of the releases."""

    verdict: DeviceVerdict
    release: str


@dataclass(frozen=True)
class DeviceOutlook:
    """target: by which it was asked for. release: label of the one for it, None where nothing fits. also:
    other releases that it runs. rejected, nearest: of the whole target; nearest is what would fit where
    nothing does, a sentence."""

    target: str
    verdict: DeviceVerdict
    release: str | None
    also: tuple[Served, ...]
    rejected: tuple[Rejected, ...]
    nearest: str | None


@dataclass(frozen=True)
class ReleaseOutlook:
    """artifact_bytes: by format, from shapes. weight_bytes: of all matrices. image_tokens:
    of an image at most, sound: the longest that the context has room for; None where it takes none.
    remarks: what else is to be known, a sentence each."""

    label: str
    recipe: str
    context: int
    formats: tuple[Format, ...]
    devices: tuple[str, ...]
    weight_bytes: int
    artifact_bytes: dict[Format, int]
    image_tokens: int | None
    sound: SoundLength | None
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class ExportNeeds:
    """Of this machine, upper estimates. memory: the worst stage of all releases. disk_bytes: beside the
    checkpoint, at once."""

    memory: StageMemory
    disk_bytes: int


@dataclass(frozen=True)
class Outlook:
    """model: as it is called in directories. source: what its weights are told by. left_out: what of the
    checkpoint is in no release, a phrase each. remarks: how it was read where it does not say all itself, a
    sentence each. needs: None where no release would be made. cache_key: the same for the same source,
    recipes, devices and versions."""

    schema_version: int
    model: str
    parameters: int
    source: dict[str, str]
    left_out: tuple[str, ...]
    remarks: tuple[str, ...]
    devices: tuple[DeviceOutlook, ...]
    releases: tuple[ReleaseOutlook, ...]
    needs: ExportNeeds | None
    versions: dict[str, str]
    cache_key: str

    @property
    def all_fit(self) -> bool:
        """Whether every device is served: not where formats were asked for that none of them runs."""
        return bool(self.devices) and all(each.release is not None for each in self.devices)


@dataclass(frozen=True)
class PlanOrder:
    """reference, adapter, components: as `open_checkpoint` takes them."""

    reference: str | None
    adapter: Path | None
    targets: Sequence[Target]
    asked: AskedFor
    components: tuple[ComponentName, ...] | None = None


def look_ahead(order: PlanOrder) -> Outlook:
    """Raises as opening a checkpoint and as `plan_releases`."""
    name = published_name(order.reference)
    model = published_model(order.reference, order.adapter, order.components)
    if model is None:
        model = PlannedModel.of(open_checkpoint(order.reference, order.adapter, order.components))
    planned = plan_releases(model, order.targets, order.asked)
    identity = source_identity(order.reference, name, order.adapter)
    formats = {each for release in planned.releases for each in release.plan.variant.formats}
    packages = {package for each in formats for package in facts_of(each).packages}
    versions = {"gemma-export": __version__, **versions_installed({*OF_ANY_FORMAT, *packages})}
    releases = tuple(
        _release(model.spec, each.plan, each.label, each.verdicts) for each in planned.releases
    )
    return Outlook(
        schema_version=OUTLOOK_SCHEMA_VERSION,
        model=model.name,
        parameters=model.spec.parameter_count(),
        source=identity,
        left_out=model.left_out,
        remarks=model.remarks,
        devices=tuple(_devices(planned)),
        releases=releases,
        needs=_needs(model.spec, planned),
        versions=versions,
        cache_key=_key(identity, planned, versions),
    )


def _devices(planned: PlannedReleases) -> list[DeviceOutlook]:
    """In the order they were asked for."""
    rows = []
    for target in planned.targets:
        for profile in target.target.profiles:
            found = _served(planned, profile)
            if not found:
                continue
            (verdict, release), *others = found
            nearest = None if target.nearest is None else target.nearest.sentence
            also = tuple(Served(each, label) for each, label in others if label is not None)
            name = target.target.name
            rows.append(DeviceOutlook(name, verdict, release, also, target.rejected, nearest))
    return list({each.verdict.profile: each for each in rows}.values())


def _served(planned: PlannedReleases, profile: DeviceProfile) -> Sequence[tuple[DeviceVerdict, str | None]]:
    """A device's verdicts, the one that decides first, and the label of the release each is of; none for
    a device without a runtime for any of the formats."""
    served: list[tuple[DeviceVerdict, str | None]] = [
        (verdict, each.label)
        for each in planned.releases
        for verdict in each.verdicts
        if verdict.profile == profile.name
    ]
    if served:
        worst = of_worst_format([verdict for verdict, _ in served], profile)
        return sorted(served, key=lambda each: each[0] is not worst)
    return [(each, None) for each in planned.left_out if each.profile == profile.name][:1]


def _release(
    spec: ModelSpec, plan: Plan, label: str, verdicts: tuple[DeviceVerdict, ...]
) -> ReleaseOutlook:
    variant = plan.variant
    sees = any(takes_images(each, spec) for each in variant.formats)
    sizes = {each.format: each.artifact_bytes for verdict in verdicts for each in verdict.artifacts}
    return ReleaseOutlook(
        label=label,
        recipe=variant.recipe.name,
        context=variant.context,
        formats=variant.formats,
        devices=tuple(each.name for each in variant.devices),
        weight_bytes=plan.weight_bytes,
        artifact_bytes=sizes,
        image_tokens=variant.soft_tokens if sees else None,
        sound=sound_that_fits(variant),
        remarks=plan.remarks,
    )


def _needs(spec: ModelSpec, planned: PlannedReleases) -> ExportNeeds | None:
    if not planned.releases:
        return None
    plans = [each.plan for each in planned.releases]
    stages = [
        stage
        for plan in plans
        for stage in export_memory(spec, plan, min(plan.variant.context, LONGEST_TEXT), CALIBRATION)
    ]
    stores = {plan.variant.recipe.name: plan.weight_bytes for plan in plans}
    artifacts = sum(
        artifact.artifact_bytes
        for each in planned.releases
        for artifact in {a.format: a for verdict in each.verdicts for a in verdict.artifacts}.values()
    )
    positions = min(max(plan.variant.context for plan in plans), EVALUATED)
    logits = LOGITS_FILES * positions * spec.vocab_size * 4
    families = {family.name: family for plan in plans for family in plan.families}.values()
    twins = max((family.memory.twin or family.memory.twin_matrices for family in families), default=0)
    disk = sum(stores.values()) + artifacts + logits + twins
    return ExportNeeds(max(stages, key=lambda stage: stage.bytes), disk)


def _key(identity: dict[str, str], planned: PlannedReleases, versions: dict[str, str]) -> str:
    """SHA-256 of all that decides what is made, and of the profiles, which decide what is said of it; in
    whatever order they were named."""
    releases: list[dict[str, object]] = []
    for each in planned.releases:
        variant = each.plan.variant
        releases.append(
            {
                "recipe": hashlib.sha256((variant.recipe.text or variant.recipe.name).encode()).hexdigest(),
                "context": variant.context,
                "formats": sorted(variant.formats),
                "image_tokens": variant.soft_tokens,
                "components": sorted(each.plan.components),
                "accelerators": {
                    format: variant.accelerators.get(format, "CPU") for format in variant.formats
                },
            }
        )
    profiles = [asdict(profile) for target in planned.targets for profile in target.target.profiles]
    parts = {
        "source": identity,
        "releases": _in_any_order(releases),
        "profiles": _in_any_order(profiles),
        "versions": versions,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _in_any_order(parts: Iterable[dict[str, object]]) -> list[str]:
    return sorted({json.dumps(each, sort_keys=True) for each in parts})
