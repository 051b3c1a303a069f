"""`DomainComparison`: what a comparison of quantised checkpoints and artifacts found, as a value.

Not about measuring (`side_by_side`, `exporter.validation.executed_artifacts`) or showing it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from exporter.evaluation.figures import Figures
from exporter.evaluation.statistics import Statistics
from exporter.reference.domain_kind import DomainKind

COMPARED_SCHEMA_VERSION = 1


@dataclass(frozen=True)
class DomainFigures:
    """Of one text."""

    name: str
    kind: DomainKind
    figures: Figures


@dataclass(frozen=True)
class SubjectFigures:
    """What was compared with the original.

    name: its directory, and of a release the artifact in it. kind: quantised weights in transformers, or an
    artifact in its runtime. recipe: None where that is not known. nbytes: of a checkpoint's tensors, or an
    artifact's files; bits: of them for each weight. overall: over all domains; kinds: over those of a kind.
    reported: end to end on the evaluation text, by the release's own report; None for a checkpoint.
    """

    name: str
    kind: Literal["checkpoint", "artifact"]
    recipe: str | None
    nbytes: int
    bits: float
    overall: Figures
    kinds: dict[DomainKind, Figures]
    domains: tuple[DomainFigures, ...]
    reported: Statistics | None


@dataclass(frozen=True)
class DomainComparison:
    """model: the original. text_sha256: of all domains' tokens. tokens: of them. longest: of a sequence.
    remarks: on the texts, a sentence each."""

    schema_version: int
    model: str
    text_sha256: str
    tokens: int
    longest: int
    remarks: tuple[str, ...]
    subjects: tuple[SubjectFigures, ...]
