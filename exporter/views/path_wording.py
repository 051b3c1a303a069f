"""What every view says of execution paths: which were executed by what, which were not and why.

In the first lines of a report, because a pass on this machine's CPU is easily taken for one on a phone's
GPU. Not about any one view's layout.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, assert_never

from exporter.evaluation.statistics import Statistics
from exporter.validation.report import (
    Kind,
    PathExecution,
    PathFailure,
    PathRun,
    TowerInput,
    ValidationReport,
)
from exporter.validation.verdict import Failed, Skipped
from exporter.views.wording import number, percent


@dataclass(frozen=True)
class PathRow:
    """One row of the table of paths, each cell as words.

    what: "executed", "failed" (it did not run, or a gate on it does not hold) or "skipped". by: what
    computed, or why nothing did.
    """

    what: Literal["executed", "failed", "skipped"]
    artifact: str
    title: str
    by: str
    accelerated: str
    mean_kl: str
    top1: str


PATH_COLUMNS = ("Artifact", "Path", "Executed by", "On the accelerator", "Mean KL", "Top-1")


def path_sentences(report: ValidationReport) -> tuple[str, ...]:
    """A sentence for each path, or for each outcome of it where artifacts differ; then whether those that
    were executed were given pictures and sounds, where the release takes any."""
    alike: dict[tuple[str, str, str], list[str]] = {}
    for run in report.paths:
        alike.setdefault((run.title, _outcome(run), run.says_nothing_of), []).append(run.artifact)
    executed = (
        f"{title} ({', '.join(artifacts)}): {found}; {caveat}."
        for (title, found, caveat), artifacts in alike.items()
    )
    return (*executed, *_prompts_with_rows(report))


def _prompts_with_rows(report: ValidationReport) -> Iterator[str]:
    taken: tuple[tuple[Kind, str, TowerInput | None], ...] = (
        ("images", "picture", report.images),
        ("sounds", "sound", report.sounds),
    )
    titles = dict.fromkeys(run.title for run in report.paths if isinstance(run.result, PathExecution))
    for title in titles:
        for kind, sample, found in taken:
            if found is None:
                continue
            on = [
                each.artifact for each in report.comparisons if (each.kind, each.subject) == (kind, title)
            ]
            if artifacts := dict.fromkeys(each for each in on if each is not None):
                yield f"{title} ({', '.join(artifacts)}): given prompts with {sample}s too."
            else:
                yield f"{title}: given no prompt with a {sample}, see Not checked."


def path_rows(report: ValidationReport) -> Iterator[PathRow]:
    """The table of paths, in the report's order."""
    for run in report.paths:
        what, by = _said(run)
        if what == "executed" and _fails_a_gate(report, run):
            what = "failed"
        figures = _figures(report, run)
        yield PathRow(
            what,
            run.artifact,
            run.title,
            by,
            _accelerated(run),
            "–" if figures is None else number(figures.mean_kl),
            "–" if figures is None else percent(figures.top1),
        )


def _outcome(run: PathRun) -> str:
    match run.result:
        case PathExecution(device=device):
            return f"executed by {device}"
        case PathFailure():
            return "did not run, see Not checked"
        case Skipped(reason):
            return f"not executed, because {reason}"
        case _:
            assert_never(run.result)


def _said(run: PathRun) -> tuple[Literal["executed", "failed", "skipped"], str]:
    match run.result:
        case PathExecution() as found:
            by = f"{found.device}, {found.runtime} {found.version}, {found.arithmetic}"
            return "executed", "; ".join((by, *found.remarks))
        case PathFailure(reason):
            return "failed", reason
        case Skipped(reason):
            return "skipped", f"not executed: {reason}"
        case _:
            assert_never(run.result)


def _accelerated(run: PathRun) -> str:
    if not isinstance(run.result, PathExecution) or run.result.left_over is None:
        return "–"
    return "all" if not run.result.left_over else f"not {', '.join(run.result.left_over)}"


def _fails_a_gate(report: ValidationReport, run: PathRun) -> bool:
    return any(
        (gate.artifact, gate.subject) == (run.artifact, run.title) and isinstance(gate.verdict, Failed)
        for gate in report.gates
    )


def _figures(report: ValidationReport, run: PathRun) -> Statistics | None:
    for each in report.comparisons:
        if (each.artifact, each.subject) == (run.artifact, run.title):
            return each.statistics
    return None
