"""Facts from far back on an execution path: the furthest that its time allows.

Slow paths (a GPU played by a CPU, an emulated processor) take a second for a token, so only the questions
of one distance are asked, the furthest that is expected to take no longer than the path allows, by its pace
on the evaluation text. What is not asked is said. Not about judging answers (`copying`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from exporter.formats.execution_path import ExecutionPath, PathOrder
from exporter.reference.copy_text import Stretch
from exporter.validation.check_context import ArtifactCheck
from exporter.validation.copying import chosen, judge_execution
from runtimes.errors import ExecutionFailed


@dataclass(frozen=True)
class PathPace:
    """How a path took the evaluation text, compiling included."""

    tokens: int
    seconds: float

    def expected(self, tokens: int) -> float:
        """Seconds for so many tokens: too many rather than too few."""
        return self.seconds * max(1.0, tokens / self.tokens)


def ask_path(check: ArtifactCheck, path: ExecutionPath, pace: PathPace, scratch: Path) -> None:
    """Ask what can be asked. Raises what running raises."""
    copying = check.copying
    if copying is None:
        return
    stretches = list(copying.text.stretches())
    stretch = _furthest(stretches, path, pace)
    _say_what_is_not_asked(check, path, pace, stretches, stretch)
    if stretch is None:
        return
    order = PathOrder(
        directory=check.release.directory,
        artifact=check.artifact,
        tokens=copying.text.tokens[: stretch.end],
        prefilled=stretch.first,
        scratch=scratch,
        seconds=max(path.seconds, 2 * path.copying_seconds),
    )
    what = f"{check.artifact.path}, {path.title}: {stretch.distance} tokens back"
    check.job.progress(what, 0, 1)
    logits = path.run(order).logits
    check.job.progress(what, 1, 1)
    if len(logits) != order.decoded:
        raise ExecutionFailed(
            f"{check.artifact.path}: {path.title} gave logits of {len(logits)} tokens and {order.decoded} "
            "were due; export again"
        )
    asked = copying.text.of(stretch.distance)
    rows = copying.text.positions[asked] - stretch.first
    found = np.array([chosen(logits[row]) for row in rows])
    judge_execution(check.findings, check.artifact.path, path.title, copying, asked, found)


def _furthest(stretches: list[Stretch], path: ExecutionPath, pace: PathPace) -> Stretch | None:
    allowed = [each for each in stretches if _why_not(each, path, pace) is None]
    return allowed[-1] if allowed else None


def _why_not(stretch: Stretch, path: ExecutionPath, pace: PathPace) -> str | None:
    if path.most_prefilled is not None and stretch.first > path.most_prefilled:
        return f"it is given {path.most_prefilled} tokens by prefill at most"
    if (seconds := pace.expected(stretch.end)) > path.copying_seconds:
        return (
            f"they would take about {seconds:.0f} s at its pace, and {path.copying_seconds:.0f} are allowed"
        )
    return None


def _say_what_is_not_asked(
    check: ArtifactCheck,
    path: ExecutionPath,
    pace: PathPace,
    stretches: list[Stretch],
    asked: Stretch | None,
) -> None:
    for stretch in stretches:
        if (why := _why_not(stretch, path, pace)) is not None:
            instead = "none were" if asked is None else f"those {asked.distance:,} tokens back were"
            check.findings.not_checked.append(
                f"{check.artifact.path}, {path.title}: facts {stretch.distance:,} tokens back and further "
                f"were not asked for ({why}); {instead}."
            )
            return
