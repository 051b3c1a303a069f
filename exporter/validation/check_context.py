"""`ArtifactCheck`: what every step of checking one artifact is given, and how each puts down what it finds.

Not about the steps (`artifact_check`, `twin_check`, `execution_check`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from exporter.evaluation.kl_spread import spread_of
from exporter.formats.execution_path import ExecutionPath
from exporter.formats.family import Driver, RuntimeFamily
from exporter.formats.table import family_of
from exporter.job import Job
from exporter.lowering.interface import Lowering, RouteRunner
from exporter.models.text.spec import ModelSpec
from exporter.planning.estimates import CacheSize, cache_size
from exporter.reference.logits_file import LogitsFile
from exporter.reference.special_prompt import SpecialPrompt
from exporter.reference.texts import TokenisedText
from exporter.validation.copying import Copying
from exporter.validation.findings import Findings, ReleaseUnderTest
from exporter.validation.gates import skipped_gate
from exporter.validation.report import Comparison, Kind
from exporter.validation.routes import NOTHING, Keeping, Route, RouteResult, plan_routes, run_route
from runtimes.errors import SessionError
from runtimes.manifest import Artifact
from runtimes.session import SessionFacts

Compared = LogitsFile | Mapping[int, NDArray[np.float32]]
"""Logits of every position, or of some."""


@dataclass(frozen=True)
class ArtifactCheck:
    """baselines: transformers' logits by what they are of, ORIGINAL or QUANTISED; descriptions: in words.
    text: the evaluation text as far as it is compared. copying: facts to ask for from far back, None where
    the context holds none. special: a prompt of special tokens. scratch: existing directory for what is
    big."""

    job: Job
    release: ReleaseUnderTest
    artifact: Artifact
    baselines: Mapping[str, LogitsFile]
    descriptions: Mapping[str, str]
    text: TokenisedText
    copying: Copying | None
    special: SpecialPrompt
    scratch: Path
    findings: Findings

    @property
    def family(self) -> RuntimeFamily:
        return family_of(self.artifact.format)

    @property
    def spec(self) -> ModelSpec:
        return self.job.source.components[self.artifact.component].spec

    @property
    def cache(self) -> CacheSize:
        """Of the opened artifact."""
        return cache_size(self.spec, self.artifact.context, self.longest_call, self.family)

    @property
    def longest_call(self) -> int:
        """Tokens of the artifact's longest call."""
        return self.release.plan.longest_call(self.artifact.format, self.artifact.prefill_chunk)

    @property
    def lowering(self) -> Lowering:
        return self.job.lowerings[self.family.name]

    @property
    def drivers(self) -> tuple[Driver, ...]:
        return self.release.drivers(self.artifact.format)

    @property
    def paths(self) -> tuple[ExecutionPath, ...]:
        return self.release.paths(self.artifact.format)

    @property
    def positions(self) -> int:
        """Tokens that are given; the last one of the text is only predicted."""
        return len(self.text.tokens) - 1

    def routes(self, facts: SessionFacts) -> tuple[Route, Route]:
        return plan_routes(facts, self.positions)

    def run(
        self,
        runner: RouteRunner,
        route: Route,
        subject: str,
        compared: Mapping[str, Compared | None],
        keeping: Keeping = NOTHING,
    ) -> RouteResult:
        """One route. Raises what the runner raises."""
        self._require_vocabulary(runner.facts)
        what = f"{self.artifact.path}, {subject}: {route.description}"
        return run_route(
            runner,
            route,
            self.text.tokens,
            {name: logits for name, logits in compared.items() if logits is not None},
            lambda done: self.job.progress(what, done, self.positions),
            keeping,
        )

    def compare(self, kind: Kind, subject: str, reference: str, route: Route, result: RouteResult) -> None:
        """Add a comparison, where there was something to compare with."""
        if reference in result.agreements:
            words = self.descriptions.get(reference, reference)
            found = result.agreements[reference]
            self.findings.comparisons.append(
                Comparison(
                    kind,
                    self.artifact.path,
                    subject,
                    words,
                    route.description,
                    found.statistics(),
                    spread_of(found.kl, along=len(found.kl) == self.positions),
                )
            )

    def remark(self, subject: str, error: Exception) -> None:
        """Say what stopped an execution."""
        self.findings.not_checked.append(f"{self.artifact.path}, {subject}: {error}.")

    def skip(self, kind: Kind, subject: str, reason: str, *statistics: str) -> None:
        """Gates that could not be tried."""
        self.findings.gates += [
            skipped_gate(kind, self.artifact.path, subject, statistic, reason) for statistic in statistics
        ]

    def _require_vocabulary(self, facts: SessionFacts) -> None:
        for reference in self.baselines.values():
            if reference.vocab != facts.vocab_size:
                raise SessionError(
                    f"{self.artifact.path}: returns logits of {facts.vocab_size} tokens, the reference of "
                    f"{reference.vocab}; export again"
                )
