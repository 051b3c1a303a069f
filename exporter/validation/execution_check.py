"""An artifact itself, run along both routes: what its kernels round, and what a user gets.

Held against its twin (kernels), against transformers on the original checkpoint (end to end), and against
itself fed otherwise (hand-over); greedy tokens, facts from far back, speed and memory are taken down on the
way. Not about the
twin (`twin_check`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from exporter.formats.artifact_bytes import artifact_bytes
from exporter.formats.family import Driver
from exporter.planning.recipe import QualityLimit
from exporter.reference.logits_file import LogitsFile
from exporter.validation.baselines import ORIGINAL, QUANTISED
from exporter.validation.boundaries import (
    KL,
    Boundaries,
    Boundary,
    boundaries_of,
    judge_boundaries,
    judge_special,
    say_what_was_not_tried,
    special_logits,
    try_boundaries,
)
from exporter.validation.check_context import ArtifactCheck, Compared
from exporter.validation.copying import LOST, Choices, answers_of, judge_execution
from exporter.validation.degenerate import LOOKED_AT, judge_artifact
from exporter.validation.endurance import WatchedMemory, judge_endurance, judge_memory
from exporter.validation.gates import (
    MEAN_KL,
    TOP_1,
    count_gate,
    mean_kl_gate,
    quality_gates,
)
from exporter.validation.greedy import (
    FEWER_GREEDY_TOKENS,
    GREEDY_TOKENS,
    Continuation,
    continue_greedily,
)
from exporter.validation.resident import PeakGrowth
from exporter.validation.routes import Keeping, Pace, Route, RouteResult, SessionRunner
from exporter.validation.twin_check import TWIN, Twins, judge_lowering, twin_logits
from exporter.validation.verdict import FAILURES
from runtimes.errors import ArtifactError, RuntimeUnavailable, SessionError
from runtimes.manifest import Artifact
from runtimes.session import Logits, Session, SessionFacts

ITSELF = "the artifact, every position"
FINITE = "non-finite logits"
FLOAT_BYTES = 4
CACHE_COPIES = 2  # one that grows is given and returned
CANNOT_RUN = "the artifact cannot be run"


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


@dataclass(frozen=True)
class _Ran:
    """Both routes of an execution and what was taken down beside them."""

    executed: Executed
    whole: Route
    turns: Route
    first: RouteResult
    second: RouteResult
    answers: Choices | None
    growth: int | None
    boundaries: Boundaries
    prompts: Mapping[Boundary, NDArray[np.float32]]
    special: Logits


def run_itself(check: ArtifactCheck, driver: Driver, twins: Twins) -> Executed | None:
    """Run the artifact in one arithmetic; None where it cannot be run."""
    subject = driver.arithmetic
    try:
        ran = _run(check, driver, twins)
        _judge(check, driver, twins, ran)
        return ran.executed
    except RuntimeUnavailable as error:
        check.skip("execution", subject, str(error), FINITE)
        _skip_what_it_gives(check, subject, str(error))
    except (ArtifactError, SessionError) as error:
        check.remark(subject, error)
        check.findings.gates.append(
            count_gate("execution", check.artifact.path, subject, FAILURES, 1, "failures")
        )
        _skip_what_it_gives(check, subject, CANNOT_RUN)
    finally:
        if (file := twins.logits.get(driver.arithmetic)) is not None:
            file.delete()
    if twins.same:
        check.skip("lowering", f"{TWIN}, {subject}", CANNOT_RUN, MEAN_KL)
        if driver.arithmetic == "fp32" and (unfinished := twins.logits.pop("fp16", None)) is not None:
            unfinished.delete()
    return None


def _run(check: ArtifactCheck, driver: Driver, twins: Twins) -> _Ran:
    growth, pace = PeakGrowth(), Pace()
    job = check.job
    greedy_tokens = GREEDY_TOKENS if job.token_limit is None else FEWER_GREEDY_TOKENS
    with driver.open(check.release.directory, check.artifact) as session:
        facts, subject = session.facts, _subject(session.facts)
        continuations = tuple(
            continue_greedily(session, prompt, job.texts.prompt(prompt), greedy_tokens)
            for prompt in job.prompts
        )
        grown = growth.so_far()
        inner = _inner_non_finite(session)
        compared: dict[str, Compared | None] = {
            ORIGINAL: check.baselines[ORIGINAL],
            QUANTISED: check.baselines[QUANTISED] if twins.same else None,
            TWIN: twins.logits.get(driver.arithmetic),
        }
        whole, turns = check.routes(facts)
        write = _twin_of_fp16(check, driver, facts, twins)
        boundaries = boundaries_of(check, driver, facts.prefill_chunk, facts.prefill_logits)
        at = [*turns.decoded().tolist(), *(each.position for each in boundaries.chosen)]
        runner = SessionRunner(session, pace)
        watched = WatchedMemory(runner, until=check.positions - turns.segments[-1].tokens)
        first = check.run(watched, whole, subject, compared, Keeping(np.array(at), write))
        inner += _inner_non_finite(session)
        compared |= {TWIN: None, ITSELF: {each: first.kept[each] for each in turns.decoded().tolist()}}
        second = check.run(runner, turns, subject, compared)
        inner += _inner_non_finite(session)
        with job.stopwatch.step("boundaries"):
            prompts = try_boundaries(check, session, boundaries)
            special = special_logits(session, check.special)
        answers = _answers(check, session)
        inner += _inner_non_finite(session)
    size = artifact_bytes(check.release.directory / check.artifact.path)
    executed = Executed(check.artifact, size, facts, pace, grown, inner, continuations)
    return _Ran(
        executed,
        whole,
        turns,
        first,
        second,
        answers,
        watched.growth,
        boundaries,
        prompts,
        special,
    )


def _judge(check: ArtifactCheck, driver: Driver, twins: Twins, ran: _Ran) -> None:
    subject, path = _subject(ran.executed.facts), check.artifact.path
    non_finite = ran.first.non_finite + ran.second.non_finite
    check.findings.gates.append(count_gate("execution", path, subject, FINITE, non_finite, "logits"))
    judge_artifact(check.findings, path, subject, _some(ran.first.kept))
    _hand_over(check, driver, subject, ran)
    judge_boundaries(check, driver, subject, ran.prompts, ran.first.kept)
    judge_special(check, subject, check.special, ran.special)
    say_what_was_not_tried(check, subject, ran.boundaries)
    _endurance(check, driver, subject, ran)
    if check.copying is not None and ran.answers is not None:
        asked = np.ones(len(ran.answers), bool)
        judge_execution(check.findings, path, subject, check.copying, asked, ran.answers)
    for route, result in ((ran.whole, ran.first), (ran.turns, ran.second)):
        if twins.same:
            judge_lowering(check, driver, subject, route, result)
        check.compare("kernels", subject, TWIN, route, result)
        check.compare("end to end", subject, ORIGINAL, route, result)
    if (limit := _end_to_end_limit(check)) is not None:
        statistics = ran.first.agreements[ORIGINAL].statistics()
        check.findings.gates += quality_gates("end to end", path, subject, statistics, limit)


def _some(kept: Mapping[int, NDArray[np.float32]]) -> Logits:
    """Logits of some positions that are spread over the text, in order."""
    at = sorted(kept)
    return np.stack([kept[each] for each in at[:: max(1, len(at) // LOOKED_AT)]])


def _endurance(check: ArtifactCheck, driver: Driver, subject: str, ran: _Ran) -> None:
    """Of the first route, against the most exact reference it was compared with."""
    agreements, findings, path = ran.first.agreements, check.findings, check.artifact.path
    closest = next(name for name in (TWIN, QUANTISED, ORIGINAL) if name in agreements)
    routes = (ran.whole, ran.turns)
    judge_endurance(findings, path, subject, routes, agreements[closest], driver.lowering_limit)
    if ran.growth is None:
        findings.not_checked.append(
            f"{path}, {subject}: whether memory grows with decode steps was not measured."
        )
    else:
        rows = len(ran.first.kept) * ran.executed.facts.vocab_size * FLOAT_BYTES
        judge_memory(findings, path, subject, ran.growth, rows + CACHE_COPIES * check.cache.bytes)


def _hand_over(check: ArtifactCheck, driver: Driver, subject: str, ran: _Ran) -> None:
    check.compare("execution", subject, ITSELF, ran.turns, ran.second)
    statistics, fed_in_turns = ran.second.agreements[ITSELF].statistics(), f"{subject}: hand-over"
    limit = driver.hand_over_limit
    check.findings.gates.append(
        mean_kl_gate("execution", check.artifact.path, fed_in_turns, statistics, limit)
    )


def _twin_of_fp16(
    check: ArtifactCheck, driver: Driver, facts: SessionFacts, twins: Twins
) -> LogitsFile | None:
    """Where to put the logits of this run, if it is what the fp16 run will be held against."""
    if not twins.same or driver.arithmetic == "fp16":
        return None
    if not any(each.arithmetic == "fp16" for each in check.drivers):
        return None
    twins.logits["fp16"] = twin_logits(check, "fp16", facts)
    return twins.logits["fp16"]


def _answers(check: ArtifactCheck, session: Session) -> Choices | None:
    """What it chooses where facts from far back are asked for."""
    if check.copying is None:
        return None
    text = check.copying.text
    what = f"{check.artifact.path}, {_subject(session.facts)}: facts from far back"
    return answers_of(session, text, lambda done: check.job.progress(what, done, len(text.tokens) - 1))


def _end_to_end_limit(check: ArtifactCheck) -> QualityLimit | None:
    return check.release.plan.variant.recipe.end_to_end.get(check.family.name)


def _skip_what_it_gives(check: ArtifactCheck, subject: str, reason: str) -> None:
    check.skip("boundaries", subject, reason, KL)
    if check.copying is not None:
        check.skip("copying", subject, reason, LOST)
    if _end_to_end_limit(check) is not None:
        check.skip("end to end", subject, reason, MEAN_KL, TOP_1)


def _subject(facts: SessionFacts) -> str:
    return f"{facts.runtime} {facts.version}, {facts.arithmetic}"


def _inner_non_finite(session: Session) -> int:
    return sum(session.non_finite.values()) if isinstance(session, CountsNonFinite) else 0
