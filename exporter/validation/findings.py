"""What a validation is asked to do, and what it collects on the way.

Not about doing it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from exporter.checkpoints.interface import CheckpointSource
from exporter.lowering.interface import Lowering
from exporter.planning.recipe import Recipe
from exporter.progress import Progress
from exporter.quantization.store.checkpoint import QuantizedCheckpoint
from exporter.validation.drivers import Driver, drivers_of
from exporter.validation.report import ArtifactRun, Comparison, Gate
from runtimes.manifest import Artifact, Format

PROMPTS = ("The capital of France is",)


@dataclass(frozen=True)
class ValidationRequest:
    """A release to be run and compared.

    artifacts: paths in them are relative to `release`. model, target: names for the report.
    recipe: whose limits count. tokenizer: tokenizer.json. evaluation: directory of text files.
    scratch: existing directory with room for about 1 MiB per evaluation token, four times, and for what a
    float twin takes (LiteRT: 2 GiB of weights and 1 MiB per evaluation token). sealed: hold the files to
    the manifest's digests as well.
    checkpoint, source: what the artifacts were made from; None where it is not at hand, and what
    needs it is then skipped. lowerings: by runtime family, for twins and for reading weights back.
    refusals: matrix to why the codes its source holds were not kept, for the report.
    token_limit: use only so many evaluation tokens. prompts: for greedy tokens.
    """

    release: Path
    artifacts: tuple[Artifact, ...]
    model: str
    target: str
    recipe: Recipe
    tokenizer: Path
    bos_token: int
    evaluation: Path
    scratch: Path
    sealed: bool
    checkpoint: QuantizedCheckpoint | None
    source: CheckpointSource | None
    lowerings: Mapping[str, Lowering]
    progress: Progress
    refusals: Mapping[str, str] = field(default_factory=dict)
    token_limit: int | None = None
    prompts: tuple[str, ...] = PROMPTS
    drivers: Callable[[Format], tuple[Driver, ...]] = drivers_of


@dataclass
class Findings:
    """What has been measured so far; becomes the report."""

    comparisons: list[Comparison] = field(default_factory=list)
    gates: list[Gate] = field(default_factory=list)
    runs: list[ArtifactRun] = field(default_factory=list)
    not_checked: list[str] = field(default_factory=list)
