"""`ReleaseUnderTest`: what a validation looks at; `Findings`: what it has found so far.

Not about looking.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from exporter.checkpoints.interface import CheckpointSource
from exporter.formats.execution_path import ExecutionPath
from exporter.formats.family import Driver
from exporter.formats.rows_driver import RowsDriver, rows_drivers_of
from exporter.formats.table import drivers_of, paths_of
from exporter.planning.plan import Plan
from exporter.quantization.store.checkpoint import QuantizedCheckpoint
from exporter.reference.peak import Peak
from exporter.validation.report import (
    ArtifactRun,
    Comparison,
    CopyRun,
    DomainAgreement,
    Gate,
    Kind,
    PathRun,
    TowerInput,
)
from exporter.validation.weight_errors import WeightError
from runtimes.formats import Format
from runtimes.manifest import Artifact, EncoderArtifact


@dataclass(frozen=True)
class ReleaseUnderTest:
    """A release of one variant, to be run and compared.

    directory: where it is. artifacts: paths in them are relative to it. plan, checkpoint: what they were
    made by and from. sealed: hold the files to the manifest's digests as well. drivers: ways to run them.
    paths: ways beside these, those executed here and those not. encoders, rows_drivers: towers for images
    and sounds, and ways to run each; none where it takes text alone. equalised: the source its codes were
    found for, None where that is the job's own.
    """

    directory: Path
    artifacts: tuple[Artifact, ...]
    plan: Plan
    checkpoint: QuantizedCheckpoint
    sealed: bool = False
    drivers: Callable[[Format], tuple[Driver, ...]] = drivers_of
    paths: Callable[[Format], tuple[ExecutionPath, ...]] = paths_of
    equalised: CheckpointSource | None = None
    encoders: tuple[EncoderArtifact, ...] = ()
    rows_drivers: Callable[[EncoderArtifact], tuple[RowsDriver, ...]] = rows_drivers_of


@dataclass
class Findings:
    """What has been measured so far; becomes the report."""

    comparisons: list[Comparison] = field(default_factory=list)
    domains: list[DomainAgreement] = field(default_factory=list)
    weight_errors: list[WeightError] = field(default_factory=list)
    gates: list[Gate] = field(default_factory=list)
    runs: list[ArtifactRun] = field(default_factory=list)
    copying: list[CopyRun] = field(default_factory=list)
    paths: list[PathRun] = field(default_factory=list)
    activations: list[Peak] = field(default_factory=list)
    towers: dict[Kind, TowerInput] = field(default_factory=dict)
    not_checked: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
