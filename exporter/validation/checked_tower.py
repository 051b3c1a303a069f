"""`CheckedTower`: a tower of a release under test; `CheckedRun`: a way to run it; `RanTower`: what it gave.

Not about checking (`tower_check`, `logits_behind_rows`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from exporter.formats.rows_driver import RowsDriver
from exporter.formats.table import family_of
from exporter.job import Job
from exporter.lowering.interface import Lowering
from exporter.validation.findings import Findings, ReleaseUnderTest
from exporter.validation.modality import MODALITIES, Modality
from exporter.validation.report import Gate, Kind
from exporter.validation.rows_answers import SampleAnswer
from exporter.validation.rows_apart import RowsApart
from exporter.validation.rows_reference import RowsReference
from runtimes.manifest import Artifact, EncoderArtifact
from runtimes.multimodal.session import RowKind


@dataclass(frozen=True)
class CheckedTower:
    """One tower, and the format's artifact for text. scratch: existing directory for what is big."""

    job: Job
    release: ReleaseUnderTest
    encoder: EncoderArtifact
    artifact: Artifact
    reference: RowsReference
    scratch: Path
    findings: Findings

    @property
    def modality(self) -> Modality:
        return self.reference.modality

    @property
    def kind(self) -> Kind:
        return self.modality.kind

    @property
    def path(self) -> str:
        return self.encoder.path

    @property
    def lowering(self) -> Lowering:
        return self.job.lowerings[family_of(self.encoder.format).name]

    @property
    def taken(self) -> frozenset[RowKind]:
        """What its decoder takes rows of."""
        own = {each.component for each in self.release.encoders if each.format == self.encoder.format}
        return frozenset(each.of for each in MODALITIES if each.component in own)

    @property
    def directory(self) -> Path:
        return self.release.directory

    def gate(self, gate: Gate) -> None:
        self.findings.gates.append(gate)

    def not_checked(self, said: str) -> None:
        """A sentence, once."""
        if said not in self.findings.not_checked:
            self.findings.not_checked.append(said)


@dataclass(frozen=True)
class CheckedRun(CheckedTower):
    """One way to run it."""

    driver: RowsDriver


@dataclass(frozen=True)
class RanTower:
    """What one way to run it gave. apart, seconds: of each sample."""

    run: CheckedRun
    subject: str
    apart: tuple[RowsApart, ...]
    seconds: tuple[float, ...]
    answers: tuple[SampleAnswer, ...]
