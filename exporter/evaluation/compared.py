"""`DomainComparison`: what a comparison of quantised checkpoints and artifacts found, as a value.

Not about measuring (`side_by_side`, `exporter.validation.executed_artifacts`) or showing it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from exporter.evaluation.figures import Figures
from exporter.reference.domain_kind import DomainKind
from runtimes.formats import Format


@dataclass(frozen=True)
class DomainFigures:
    """Of one text."""

    name: str
    kind: DomainKind
    figures: Figures


@dataclass(frozen=True)
class SubjectFigures:
    """What was compared with the original.

    name: its directory, and of a release the artifact in it. path, format: that artifact's, None for a
    checkpoint. kind: quantised weights in transformers, or an artifact in its runtime. recipe: None where
    that is not known. nbytes: of a checkpoint's tensors, or an artifact's files; bits: of them for each
    weight. overall: over all domains; kinds: over those of a kind.
    """

    name: str
    directory: str
    path: str | None
    format: Format | None
    kind: Literal["checkpoint", "artifact"]
    recipe: str | None
    nbytes: int
    bits: float
    overall: Figures
    kinds: dict[DomainKind, Figures]
    domains: tuple[DomainFigures, ...]


@dataclass(frozen=True)
class SubjectChange:
    """A subject against that of the same format in the directory before its own, both as executed here.

    nbytes, mean_kl: 0.1 for a tenth more, None where there was nothing before. top1: difference of shares.
    """

    name: str
    before: str
    nbytes: float | None
    mean_kl: float | None
    top1: float


@dataclass(frozen=True)
class DomainComparison:
    """model: the original. text_sha256: of all domains' tokens. tokens: of them. longest: of a sequence.
    remarks: on the texts, a sentence each. changes: from one directory to the next."""

    model: str
    text_sha256: str
    tokens: int
    longest: int
    remarks: tuple[str, ...]
    subjects: tuple[SubjectFigures, ...]
    changes: tuple[SubjectChange, ...]
