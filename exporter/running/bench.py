"""`Bench`: the speed of a release's artifacts, with the machine it was measured on.

Not about measuring one (`speed`), nor about printing.
"""

from __future__ import annotations

import json
import os
import platform
from dataclasses import dataclass
from typing import Any

from exporter.progress import Progress
from exporter.running.placed_release import PlacedRelease
from exporter.running.speed import PaceRuns, Speed, SpeedOrder, measure_speed
from runtimes.errors import RuntimeUnavailable
from runtimes.formats import Format
from runtimes.manifest import Artifact
from runtimes.open import open_session
from runtimes.records import to_plain

BENCH_SCHEMA_VERSION = 1
SAYS_NOTHING_OF = (
    "Of this machine alone, with what else it did meanwhile: no phone took part, and no runtime of Apple's."
)


@dataclass(frozen=True)
class Machine:
    """processors: that this system offers. load: its average of the minute before, None where it does not
    say."""

    system: str
    processor: str
    processors: int
    load: float | None


@dataclass(frozen=True)
class ArtifactSpeed:
    """run_by: runtime, version, arithmetic, "" where it was not run. speed: None then, and not_run says
    why and what to install."""

    artifact: str
    format: Format
    run_by: str
    speed: Speed | None
    not_run: str | None


@dataclass(frozen=True)
class Bench:
    """order: as asked; a short context may hold less."""

    schema_version: int
    model: str
    recipe: str
    machine: Machine
    order: SpeedOrder
    artifacts: tuple[ArtifactSpeed, ...]
    says_nothing_of: str

    @property
    def label(self) -> str:
        of, machine = self.order, self.machine
        load = "" if machine.load is None else f", load {machine.load:.1f}"
        return (
            f"{self.model}, recipe {self.recipe}, on this machine: {machine.system}, {machine.processor}, "
            f"{machine.processors} processors{load}; {of.threads} threads, median of {of.runs} runs "
            "(lowest to highest)."
        )

    def to_json(self) -> str:
        plain = to_plain(self)
        for each, found in zip(plain["artifacts"], self.artifacts, strict=True):
            if found.speed is not None:
                speed = found.speed
                each["speed"] = {"prefill": _plain(speed.prefill), "decode": _plain(speed.decode)}
        return json.dumps(plain, indent=2, ensure_ascii=False) + "\n"


def measure_release(
    release: PlacedRelease, artifacts: tuple[Artifact, ...], order: SpeedOrder, progress: Progress
) -> Bench:
    """Each artifact in turn; one whose runtime is not installed is named and not run."""
    machine = _machine()
    return Bench(
        schema_version=BENCH_SCHEMA_VERSION,
        model=release.manifest.model["name"],
        recipe=release.manifest.plan["recipe"],
        machine=machine,
        order=order,
        artifacts=tuple(_measured(release, each, order, progress) for each in artifacts),
        says_nothing_of=SAYS_NOTHING_OF,
    )


def _measured(
    release: PlacedRelease, artifact: Artifact, order: SpeedOrder, progress: Progress
) -> ArtifactSpeed:
    release.require_whole(artifact)
    what, total = f"time {artifact.path}", order.runs + 1
    try:
        with open_session(release.directory, artifact, threads=order.threads) as session:
            facts = session.facts
            speed = measure_speed(session, order, lambda done: progress(what, done, total))
    except RuntimeUnavailable as error:
        return ArtifactSpeed(artifact.path, artifact.format, "", None, str(error))
    run_by = f"{facts.runtime} {facts.version}, {facts.arithmetic}"
    return ArtifactSpeed(artifact.path, artifact.format, run_by, speed, None)


def _machine() -> Machine:
    try:
        load: float | None = os.getloadavg()[0]
    except (AttributeError, OSError):  # Windows has none
        load = None
    system = f"{platform.system()} {platform.machine()}"
    return Machine(system, _processor(), os.cpu_count() or 1, load)


def _processor() -> str:
    """Its name as Linux gives it, or what Python knows."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as facts:
            names = (line.partition(":")[2].strip() for line in facts if line.startswith("model name"))
            return next(names, "") or platform.processor() or "unknown processor"
    except OSError:
        return platform.processor() or "unknown processor"


def _plain(runs: PaceRuns) -> dict[str, Any]:
    return {**to_plain(runs), "median": runs.median, "lowest": runs.lowest, "highest": runs.highest}
