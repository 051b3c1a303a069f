"""`Driver`: one way to execute artifacts of a format here. One explicit table.

Core ML packages are executed twice by the MIL evaluator, in fp32 and in fp16 arithmetic: the first
shows that the graph is right, the second what half precision costs. Not about limits (`gates`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from runtimes.manifest import Artifact, Format
from runtimes.open import open_session
from runtimes.session import Session

Arithmetic = Literal["fp32", "fp16"]


@dataclass(frozen=True)
class Driver:
    """arithmetic: what float operations are computed in. open: (directory, artifact) to a session."""

    arithmetic: Arithmetic
    open: Callable[[Path, Artifact], Session]


def _natively(directory: Path, artifact: Artifact) -> Session:
    return open_session(directory, artifact)


def _mil_fp32(directory: Path, artifact: Artifact) -> Session:
    return open_session(directory, artifact, mil_arithmetic="fp32")


def _mil_fp16(directory: Path, artifact: Artifact) -> Session:
    return open_session(directory, artifact, mil_arithmetic="fp16")


def drivers_of(format: Format) -> tuple[Driver, ...]:
    """Every way artifacts of this format are executed in a validation."""
    if format == "coreml":
        return Driver("fp32", _mil_fp32), Driver("fp16", _mil_fp16)
    return (Driver("fp32", _natively),)
