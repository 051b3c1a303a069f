"""`TowerUnderTest`: what every step of checking one image tower is given. Not about the steps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from exporter.formats.table import family_of
from exporter.job import Job
from exporter.lowering.interface import Lowering
from exporter.validation.findings import Findings, ReleaseUnderTest
from exporter.validation.image_reference import ImageReference
from exporter.validation.report import Gate
from runtimes.manifest import Artifact, EncoderArtifact


@dataclass(frozen=True)
class TowerUnderTest:
    """One tower, and the format's artifact for text. scratch: existing directory for what is big."""

    job: Job
    release: ReleaseUnderTest
    encoder: EncoderArtifact
    artifact: Artifact
    reference: ImageReference
    scratch: Path
    findings: Findings

    @property
    def path(self) -> str:
        return self.encoder.path

    @property
    def lowering(self) -> Lowering:
        return self.job.lowerings[family_of(self.encoder.format).name]

    @property
    def directory(self) -> Path:
        return self.release.directory

    def gate(self, gate: Gate) -> None:
        self.findings.gates.append(gate)
