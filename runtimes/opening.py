"""`Opening`: what a driver is asked to open, and how. Not about which driver (`runtimes.open`)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from runtimes.manifest import Artifact, EncoderArtifact

MilArithmetic = Literal["fp32", "fp16"]


@dataclass(frozen=True)
class Opening:
    """path: of the artifact, where it lies. threads: for drivers that let one choose. mil_arithmetic: for
    the MIL evaluator."""

    path: Path
    artifact: Artifact
    threads: int
    mil_arithmetic: MilArithmetic


@dataclass(frozen=True)
class EncoderOpening:
    """As `Opening`, for images and sounds. release: its directory. encoder: the tower, and the decoder that
    takes its rows. artifact: the format's text decoder, whose context, chunk and vocabulary that one has
    too."""

    release: Path
    encoder: EncoderArtifact
    artifact: Artifact
    threads: int
    mil_arithmetic: MilArithmetic
