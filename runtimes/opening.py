"""`Opening`: what a driver is asked to open, and how. Not about which driver (`runtimes.open`)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from runtimes.manifest import Artifact

MilArithmetic = Literal["fp32", "fp16"]


@dataclass(frozen=True)
class Opening:
    """path: of the artifact, where it lies. threads: for drivers that let one choose. mil_arithmetic: for
    the MIL evaluator."""

    path: Path
    artifact: Artifact
    threads: int
    mil_arithmetic: MilArithmetic
