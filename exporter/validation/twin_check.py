"""The float twin of an artifact, run along both routes: is the graph right?

Not about the artifact itself (`execution_check`).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from exporter.errors import LoweringError
from exporter.formats.family import Arithmetic, Driver
from exporter.lowering.interface import RouteRunner
from exporter.reference.logits_file import LogitsFile
from exporter.validation.baselines import QUANTISED
from exporter.validation.check_context import ArtifactCheck
from exporter.validation.gates import MEAN_KL, mean_kl_gate
from exporter.validation.routes import Keeping, Route, RouteResult, SessionRunner
from runtimes.errors import ArtifactError, RuntimeUnavailable, SessionError
from runtimes.manifest import Artifact
from runtimes.session import SessionFacts

TWIN = "float twin"


@dataclass(frozen=True)
class Twins:
    """logits: by arithmetic of the artifact that is to be held against them, on the first route.

    same: the artifact is its own float twin (Core ML dequantises before it computes). Then its own
    execution does this check in passing, and the twin of its fp16 run is its fp32 run.
    """

    logits: dict[Arithmetic, LogitsFile]
    same: bool = False


def run_twins(check: ArtifactCheck) -> Twins:
    """Make the twin, run it in every arithmetic, delete it."""
    directory = check.scratch / "twin"
    directory.mkdir()
    try:
        making = f"{check.artifact.path}, {TWIN}: made"
        check.job.progress(making, 0, 1)
        twin = check.lowering.float_twin(check.release.directory, check.artifact, directory)
        check.job.progress(making, 1, 1)
        own = (check.release.directory / check.artifact.path).resolve()
        if isinstance(twin, Artifact) and (directory / twin.path).resolve() == own:
            return Twins({}, same=True)
        return Twins(
            {
                driver.arithmetic: logits
                for driver in check.drivers
                if (logits := _run_twin(check, driver, directory, twin)) is not None
            }
        )
    except (LoweringError, ArtifactError) as error:
        for driver in check.drivers:
            reason = f"the float twin cannot be made: {error}"
            check.skip("lowering", f"{TWIN}, {driver.arithmetic}", reason, MEAN_KL)
        return Twins({})
    finally:
        shutil.rmtree(directory)


def judge_lowering(
    check: ArtifactCheck, driver: Driver, subject: str, route: Route, result: RouteResult
) -> None:
    """Hold what computes with dequantised weights against transformers on the quantised checkpoint."""
    check.compare("lowering", subject, QUANTISED, route, result)
    statistics = result.agreements[QUANTISED].statistics()
    of_route = f"{subject}: {route.description}"
    check.findings.gates.append(
        mean_kl_gate("lowering", check.artifact.path, of_route, statistics, driver.lowering_limit)
    )


def twin_logits(check: ArtifactCheck, arithmetic: Arithmetic, facts: SessionFacts) -> LogitsFile:
    """A file for the logits an artifact of this arithmetic is to be held against."""
    return LogitsFile.create(check.scratch / f"twin-{arithmetic}", check.positions, facts.vocab_size)


def _run_twin(
    check: ArtifactCheck, driver: Driver, directory: Path, twin: Artifact | RouteRunner
) -> LogitsFile | None:
    subject = f"{TWIN}, {driver.arithmetic}"
    try:
        with _runner(driver, directory, twin) as runner:
            file = twin_logits(check, driver.arithmetic, runner.facts)
            for route, write in zip(check.routes(runner.facts), (file, None), strict=True):
                compared = {QUANTISED: check.baselines[QUANTISED]}
                result = check.run(runner, route, subject, compared, Keeping(file=write))
                judge_lowering(check, driver, subject, route, result)
    except RuntimeUnavailable as error:
        check.skip("lowering", subject, str(error), MEAN_KL)
        return None
    except (ArtifactError, SessionError) as error:
        check.remark(subject, error)
        check.skip("lowering", subject, str(error), MEAN_KL)
        return None
    return file


@contextmanager
def _runner(driver: Driver, directory: Path, twin: Artifact | RouteRunner) -> Iterator[RouteRunner]:
    """The twin, to be given routes: opened as its artifact is, or as it is."""
    if isinstance(twin, Artifact):
        with driver.open(directory, twin) as session:
            yield SessionRunner(session)
    else:
        yield twin
