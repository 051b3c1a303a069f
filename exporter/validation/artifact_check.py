"""One artifact: its weights read back, its float twin and itself run along both routes.

Steps of `check_artifact`:
  (1) weights: codes and scales in the written file against the quantised checkpoint
  (2) the twin, in every arithmetic, against transformers on the quantised checkpoint; its logits stay
      on disk for (3), the twin itself is deleted
  (3) the artifact, in every arithmetic: kernels (against its twin), end to end (against transformers
      on the original), hand-over (against itself fed otherwise), greedy tokens, speed and memory
One session is open at a time. What cannot be done is skipped with its reason, never left out.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from exporter.errors import LoweringError
from exporter.lowering.interface import RouteRunner
from exporter.planning.plan import FORMAT_FAMILY
from exporter.planning.recipe import QualityLimit
from exporter.reference.logits_file import LogitsFile
from exporter.reference.texts import EvaluationText
from exporter.validation.baselines import ORIGINAL, QUANTISED, References
from exporter.validation.drivers import Arithmetic, Driver
from exporter.validation.findings import Findings, ValidationRequest
from exporter.validation.gates import (
    HAND_OVER_MEAN_KL,
    LOWERING_MEAN_KL,
    MEAN_KL,
    TOP_1,
    count_gate,
    mean_kl_gate,
    quality_gates,
    skipped_gate,
)
from exporter.validation.greedy import (
    FEWER_GREEDY_TOKENS,
    GREEDY_TOKENS,
    Continuation,
    continue_greedily,
)
from exporter.validation.report import Comparison, Kind
from exporter.validation.resident import PeakGrowth
from exporter.validation.routes import Pace, Route, RouteResult, SessionRunner, plan_routes, run_route
from exporter.validation.stored_weights import differing_numbers
from runtimes.errors import ArtifactError, RuntimeUnavailable, SessionError
from runtimes.manifest import Artifact
from runtimes.session import Session, SessionFacts

TWIN, ITSELF = "float twin", "the artifact, every position"
FINITE, FAILURES, UNREADABLE = "non-finite logits", "failures to run", "unreadable"
Source = LogitsFile | Mapping[int, NDArray[np.float32]]


@runtime_checkable
class CountsNonFinite(Protocol):
    """A session that sees inside its graph: results that are NaN or infinite, by operation."""

    @property
    def non_finite(self) -> Mapping[str, int]: ...


@dataclass(frozen=True)
class Executed:
    """What is known of an artifact from having run it, before the reference judged its greedy tokens."""

    artifact: Artifact
    bytes: int
    facts: SessionFacts
    pace: Pace
    peak_growth: int | None
    non_finite_operations: int
    continuations: tuple[Continuation, ...]


def check_artifact(
    request: ValidationRequest,
    artifact: Artifact,
    references: References,
    text: EvaluationText,
    tokenizer: Tokenizer,
    scratch: Path,
    findings: Findings,
) -> list[Executed]:
    """Run every check of one artifact; comparisons and gates go to `findings`."""
    check = _Check(request, artifact, references, text, tokenizer, scratch, findings)
    # (1)
    check.weights()
    # (2)
    twins = check.twins()
    # (3)
    return [found for driver in check.drivers if (found := check.itself(driver, twins)) is not None]


@dataclass(frozen=True)
class _Twins:
    """logits: by arithmetic of the artifact that is to be held against them, on the first route.

    same: the artifact is its own float twin (Core ML dequantises before it computes). Then (3) does
    (2) in passing, and the twin of its fp16 run is its fp32 run.
    """

    logits: dict[Arithmetic, LogitsFile]
    same: bool = False


class _Check:
    def __init__(
        self,
        request: ValidationRequest,
        artifact: Artifact,
        references: References,
        text: EvaluationText,
        tokenizer: Tokenizer,
        scratch: Path,
        findings: Findings,
    ) -> None:
        self.request, self.artifact, self.references = request, artifact, references
        self.text, self.tokenizer, self.scratch, self.findings = text, tokenizer, scratch, findings
        self.family = FORMAT_FAMILY[artifact.format]
        self.lowering = request.lowerings.get(self.family)
        self.drivers = request.drivers(artifact.format)
        self.positions = len(text.tokens) - 1

    # (1)
    def weights(self) -> None:
        statistic, subject = "differing numbers", "stored weights"
        if self.lowering is None or self.request.checkpoint is None:
            self._skip("weights", subject, "the quantised checkpoint is not at hand", statistic)
            return
        try:
            stored = self.lowering.read_back(self.request.release, self.artifact)
            count = differing_numbers(stored, self.request.checkpoint)
        except LoweringError as error:
            self.findings.not_checked.append(f"{self.artifact.path}: {error}.")
            self.findings.gates.append(
                count_gate("weights", self.artifact.path, subject, UNREADABLE, 1, "files")
            )
            return
        self.findings.gates.append(
            count_gate("weights", self.artifact.path, subject, statistic, count, "numbers")
        )

    # (2)
    def twins(self) -> _Twins:
        if self.lowering is None or self.references.quantised is None:
            return self._no_twins("the quantised checkpoint is not at hand")
        directory = self.scratch / "twin"
        directory.mkdir()
        try:
            twin = self.lowering.float_twin(self.request.release, self.artifact, directory)
            own = (self.request.release / self.artifact.path).resolve()
            if isinstance(twin, Artifact) and (directory / twin.path).resolve() == own:
                return _Twins({}, same=True)
            return _Twins(
                {
                    driver.arithmetic: logits
                    for driver in self.drivers
                    if (logits := self._run_twin(driver, directory, twin)) is not None
                }
            )
        except LoweringError as error:
            return self._no_twins(f"the float twin cannot be made: {error}")
        finally:
            shutil.rmtree(directory)

    def _no_twins(self, reason: str) -> _Twins:
        for driver in self.drivers:
            self._skip("lowering", f"{TWIN}, {driver.arithmetic}", reason, MEAN_KL)
        return _Twins({})

    def _run_twin(self, driver: Driver, directory: Path, twin: Artifact | RouteRunner) -> LogitsFile | None:
        subject = f"{TWIN}, {driver.arithmetic}"
        try:
            with _runner(driver, directory, twin) as runner:
                file = self._logits_file(driver.arithmetic, runner.facts)
                for route, write in zip(self._routes(runner.facts), (file, None), strict=True):
                    result = self._run(
                        runner, route, subject, {QUANTISED: self.references.quantised}, write
                    )
                    self._lowering(driver, subject, route, result)
        except RuntimeUnavailable as error:
            self._skip("lowering", subject, str(error), MEAN_KL)
            return None
        except (ArtifactError, SessionError) as error:
            self.findings.not_checked.append(f"{self.artifact.path}, {subject}: {error}.")
            self._skip("lowering", subject, str(error), MEAN_KL)
            return None
        return file

    # (3)
    def itself(self, driver: Driver, twins: _Twins) -> Executed | None:
        subject = driver.arithmetic
        try:
            return self._run_itself(driver, twins)
        except RuntimeUnavailable as error:
            self._skip("execution", subject, str(error), FINITE)
            self._skip_end_to_end(subject, str(error))
        except (ArtifactError, SessionError) as error:
            self.findings.not_checked.append(f"{self.artifact.path}, {subject}: {error}.")
            self._fail_execution(subject)
            self._skip_end_to_end(subject, "the artifact cannot be run")
        finally:
            if (file := twins.logits.get(driver.arithmetic)) is not None:
                file.delete()
        if twins.same:
            self._skip("lowering", f"{TWIN}, {subject}", "the artifact cannot be run", MEAN_KL)
            if driver.arithmetic == "fp32" and (unfinished := twins.logits.pop("fp16", None)) is not None:
                unfinished.delete()
        return None

    def _run_itself(self, driver: Driver, twins: _Twins) -> Executed:
        growth, pace = PeakGrowth(), Pace()
        greedy_tokens = GREEDY_TOKENS if self.request.token_limit is None else FEWER_GREEDY_TOKENS
        with driver.open(self.request.release, self.artifact) as session:
            facts, subject = session.facts, _subject(session.facts)
            continuations = tuple(
                continue_greedily(session, prompt, self._prompt_tokens(prompt), greedy_tokens)
                for prompt in self.request.prompts
            )
            grown = growth.so_far()
            inner = _inner_non_finite(session)
            sources: dict[str, Source | None] = {
                ORIGINAL: self.references.original,
                QUANTISED: self.references.quantised if twins.same else None,
                TWIN: twins.logits.get(driver.arithmetic),
            }
            whole, turns = self._routes(facts)
            write = self._twin_of_fp16(driver, facts, twins)
            runner = SessionRunner(session, pace)
            first = self._run(runner, whole, subject, sources, write, turns.decoded())
            inner += _inner_non_finite(session)
            sources |= {TWIN: None, ITSELF: first.kept}
            second = self._run(runner, turns, subject, sources)
            inner += _inner_non_finite(session)
        non_finite = first.non_finite + second.non_finite
        self.findings.gates.append(
            count_gate("execution", self.artifact.path, subject, FINITE, non_finite, "logits")
        )
        self._hand_over(driver, subject, turns, second)
        for route, result in ((whole, first), (turns, second)):
            if twins.same:
                self._lowering(driver, subject, route, result)
            self._compare("kernels", subject, TWIN, route, result)
            self._compare("end to end", subject, ORIGINAL, route, result)
        self._end_to_end(subject, first)
        size = _size(self.request.release / self.artifact.path)
        return Executed(self.artifact, size, facts, pace, grown, inner, continuations)

    def _twin_of_fp16(self, driver: Driver, facts: SessionFacts, twins: _Twins) -> LogitsFile | None:
        """Where to put the logits of this run, if it is what the fp16 run will be held against."""
        if not twins.same or driver.arithmetic == "fp16":
            return None
        if not any(each.arithmetic == "fp16" for each in self.drivers):
            return None
        twins.logits["fp16"] = self._logits_file("fp16", facts)
        return twins.logits["fp16"]

    def _logits_file(self, arithmetic: Arithmetic, facts: SessionFacts) -> LogitsFile:
        return LogitsFile.create(self.scratch / f"twin-{arithmetic}", self.positions, facts.vocab_size)

    def _lowering(self, driver: Driver, subject: str, route: Route, result: RouteResult) -> None:
        self._compare("lowering", subject, QUANTISED, route, result)
        limit = LOWERING_MEAN_KL[self.family, driver.arithmetic]
        statistics = result.agreements[QUANTISED].statistics()
        of_route = f"{subject}: {route.description}"
        self.findings.gates.append(
            mean_kl_gate("lowering", self.artifact.path, of_route, statistics, limit)
        )

    def _hand_over(self, driver: Driver, subject: str, turns: Route, result: RouteResult) -> None:
        self._compare("execution", subject, ITSELF, turns, result)
        limit = HAND_OVER_MEAN_KL[self.family, driver.arithmetic]
        statistics = result.agreements[ITSELF].statistics()
        self.findings.gates.append(
            mean_kl_gate("execution", self.artifact.path, f"{subject}: hand-over", statistics, limit)
        )

    def _end_to_end(self, subject: str, first: RouteResult) -> None:
        limit = self._end_to_end_limit()
        if limit is None:
            return
        if ORIGINAL not in first.agreements:
            self._skip_end_to_end(subject, "the original checkpoint is not at hand")
            return
        statistics = first.agreements[ORIGINAL].statistics()
        self.findings.gates += quality_gates("end to end", self.artifact.path, subject, statistics, limit)

    def _end_to_end_limit(self) -> QualityLimit | None:
        return self.request.recipe.end_to_end.get(self.family)

    def _run(
        self,
        runner: RouteRunner,
        route: Route,
        subject: str,
        sources: Mapping[str, Source | None],
        write: LogitsFile | None = None,
        keep: NDArray[np.int64] | None = None,
    ) -> RouteResult:
        self._require_vocabulary(runner.facts)
        what = f"{self.artifact.path}, {subject}: {route.description}"
        return run_route(
            runner,
            route,
            self.text.tokens,
            {name: source for name, source in sources.items() if source is not None},
            tell=lambda done: self.request.progress(what, done, self.positions),
            keep=keep,
            write=write,
        )

    def _require_vocabulary(self, facts: SessionFacts) -> None:
        for reference in (self.references.original, self.references.quantised):
            if reference is not None and reference.vocab != facts.vocab_size:
                raise SessionError(
                    f"{self.artifact.path}: returns logits of {facts.vocab_size} tokens, the reference of "
                    f"{reference.vocab}; export again"
                )

    def _routes(self, facts: SessionFacts) -> tuple[Route, Route]:
        return plan_routes(facts, self.positions)

    def _compare(self, kind: Kind, subject: str, reference: str, route: Route, result: RouteResult) -> None:
        """Add a comparison, where there was something to compare with."""
        if reference in result.agreements:
            words = self.references.descriptions.get(reference, reference)
            statistics = result.agreements[reference].statistics()
            self.findings.comparisons.append(
                Comparison(kind, self.artifact.path, subject, words, route.description, statistics)
            )

    def _prompt_tokens(self, prompt: str) -> NDArray[np.int32]:
        found = self.tokenizer.encode(prompt, add_special_tokens=False).ids
        return np.array([self.request.bos_token, *found], np.int32)

    def _fail_execution(self, subject: str) -> None:
        self.findings.gates.append(
            count_gate("execution", self.artifact.path, subject, FAILURES, 1, "failures")
        )

    def _skip_end_to_end(self, subject: str, reason: str) -> None:
        if self._end_to_end_limit() is not None:
            self._skip("end to end", subject, reason, MEAN_KL, TOP_1)

    def _skip(self, kind: Kind, subject: str, reason: str, *statistics: str) -> None:
        self.findings.gates += [
            skipped_gate(kind, self.artifact.path, subject, statistic, reason) for statistic in statistics
        ]


@contextmanager
def _runner(driver: Driver, directory: Path, twin: Artifact | RouteRunner) -> Iterator[RouteRunner]:
    """The twin, to be given routes: opened as its artifact is, or as it is."""
    if isinstance(twin, Artifact):
        with driver.open(directory, twin) as session:
            yield SessionRunner(session)
    else:
        yield twin


def _subject(facts: SessionFacts) -> str:
    return f"{facts.runtime} {facts.version}, {facts.arithmetic}"


def _inner_non_finite(session: Session) -> int:
    return sum(session.non_finite.values()) if isinstance(session, CountsNonFinite) else 0


def _size(path: Path) -> int:
    """Bytes of a directory's files, or of a file and those whose names begin with its own: ONNX keeps
    its weights beside the graph."""
    files = path.rglob("*") if path.is_dir() else path.parent.glob(f"{path.name}*")
    return sum(each.stat().st_size for each in files if each.is_file())
