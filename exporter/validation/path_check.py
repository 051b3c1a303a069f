"""The artifact on every execution path that is here: a GPU, a browser, an emulated processor.

Prefill to past the sliding window, then decode, on the path as on what it is held against. A path that is
not here is put down as not executed, with its reason: no gate, so that a machine without it can publish,
and no pass (docs/adr/0018). A path that is here and crashes or hangs fails. Facts from far back are asked
for after that (`path_copying`). Not about what a path is (`exporter.formats.execution_path`).
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import numpy as np

from exporter.evaluation.kl_spread import spread_of
from exporter.evaluation.statistics import agree
from exporter.formats.execution_path import ExecutionPath, PathAnswer, PathOrder
from exporter.validation.check_context import ArtifactCheck
from exporter.validation.execution_check import FINITE
from exporter.validation.gates import count_gate, mean_kl_gate
from exporter.validation.path_copying import PathPace, ask_path
from exporter.validation.report import Comparison, PathExecution, PathFailure, PathRun
from exporter.validation.twin_check import Twins
from exporter.validation.verdict import FAILURES, Skipped
from runtimes.errors import (
    ArtifactError,
    BeyondAdapter,
    ExecutionFailed,
    RuntimeUnavailable,
    SessionError,
)
from runtimes.session import Logits

LEFT_OVER = "operations the accelerator did not take"
NO_TWIN = "the float twin it is held against was not run"


def check_paths(check: ArtifactCheck, twins: Twins) -> None:
    """Every path of the artifact; what is found goes to the check's findings."""
    for path in check.paths:
        if (reason := _not_for(check, path) or path.missing()) is not None:
            _put_down(check, path, Skipped(reason))
            continue
        scratch = check.scratch / f"path-{path.name}"
        scratch.mkdir()
        try:
            _execute(check, path, twins, scratch)
        except (RuntimeUnavailable, BeyondAdapter) as error:
            _put_down(check, path, Skipped(str(error)))
        except (ArtifactError, SessionError, ExecutionFailed) as error:
            _put_down(check, path, PathFailure(str(error)))
            check.remark(path.title, error)
            check.findings.gates.append(
                count_gate("path", check.artifact.path, path.title, FAILURES, 1, "failures")
            )
        finally:
            shutil.rmtree(scratch, ignore_errors=True)  # a killed process may still be letting go of it


def _not_for(check: ArtifactCheck, path: ExecutionPath) -> str | None:
    """Why the artifact is not meant for a path, None where it may be."""
    text = check.release.plan.components["text"]
    if held := {scheme.name for scheme in text.schemes.values()} & path.refused:
        return f"it holds {', '.join(sorted(held))}, and {path.why_refused}: it is for other processors"
    return None


def path_order(check: ArtifactCheck, path: ExecutionPath, scratch: Path) -> PathOrder:
    """Prefill to half a chunk past the longest window, where text and path go there, then decode."""
    spec = check.job.source.components["text"].spec
    window = max((layer.window for layer in spec.layers if layer.window is not None), default=0)
    chunk = check.artifact.prefill_chunk
    decoded = min(path.decoded, max(1, check.positions // 2))
    prefilled = min(window + max(1, chunk // 2), check.positions - decoded)
    if path.most_prefilled is not None:
        prefilled = min(prefilled, path.most_prefilled)
    return PathOrder(
        directory=check.release.directory,
        artifact=check.artifact,
        tokens=check.text.tokens[: prefilled + decoded],
        prefilled=prefilled,
        scratch=scratch,
        seconds=path.seconds,
    )


def _execute(check: ArtifactCheck, path: ExecutionPath, twins: Twins, scratch: Path) -> None:
    order = path_order(check, path, scratch)
    expected = _expected(check, path, twins, order)
    if expected is None:
        _put_down(check, path, Skipped(NO_TWIN))
        return
    check.job.progress(f"{check.artifact.path}, {path.title}", 0, 1)
    begin = time.perf_counter()
    answer = path.run(order)
    seconds = time.perf_counter() - begin
    check.job.progress(f"{check.artifact.path}, {path.title}", 1, 1)
    if answer.logits.shape != expected.shape:
        raise ExecutionFailed(
            f"{check.artifact.path}: {path.title} gave logits {list(answer.logits.shape)} and "
            f"{list(expected.shape)} were due; export again"
        )
    _judge(check, path, order, expected, answer)
    ask_path(check, path, PathPace(len(order.tokens), seconds), scratch)
    found = PathExecution(
        runtime=answer.runtime,
        version=answer.version,
        device=answer.device,
        arithmetic=answer.arithmetic,
        left_over=answer.left_over,
        positions=order.decoded,
        seconds=seconds,
        remarks=answer.remarks,
    )
    _put_down(check, path, found)


def _expected(check: ArtifactCheck, path: ExecutionPath, twins: Twins, order: PathOrder) -> Logits | None:
    """The logits the path's are held against, [decoded, vocab]."""
    if path.reference == "float twin":
        file = twins.logits.get("fp32")
        return None if file is None else file.rows(order.prefilled, len(order.tokens))
    with check.drivers[0].open(order.directory, order.artifact) as session:
        session.prefill(order.tokens[: order.prefilled])
        return np.stack([session.decode(int(token)) for token in order.tokens[order.prefilled :]])


def _judge(
    check: ArtifactCheck, path: ExecutionPath, order: PathOrder, expected: Logits, answer: PathAnswer
) -> None:
    artifact, gates = check.artifact.path, check.findings.gates
    following = check.text.tokens[order.prefilled + 1 : len(order.tokens) + 1]
    found = agree(expected, answer.logits, following)
    statistics, kl = found.statistics(), spread_of(found.kl, along=True)
    route = f"prefill of {order.prefilled}, {order.decoded} decode steps"
    check.findings.comparisons.append(
        Comparison("path", artifact, path.title, path.reference, route, statistics, kl)
    )
    non_finite = int(answer.logits.size - np.isfinite(answer.logits).sum())
    gates.append(count_gate("path", artifact, path.title, FINITE, non_finite, "logits"))
    gates.append(mean_kl_gate("path", artifact, path.title, statistics, path.mean_kl_limit))
    if answer.left_over is not None:
        count = len(answer.left_over)
        gates.append(count_gate("path", artifact, path.title, LEFT_OVER, count, "operations"))


def _put_down(
    check: ArtifactCheck, path: ExecutionPath, result: PathExecution | PathFailure | Skipped
) -> None:
    check.findings.paths.append(
        PathRun(check.artifact.path, path.name, path.title, path.says_nothing_of, result)
    )
