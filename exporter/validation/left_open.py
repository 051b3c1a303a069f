"""What a report has to call not checked beside what its checks put down: skipped gates and paths.

One sentence each, so that a list of what was not checked is never empty while something was not. Not
about why: gates and paths say that themselves.
"""

from __future__ import annotations

from collections.abc import Sequence

from exporter.validation.report import Gate, PathRun
from exporter.validation.verdict import Skipped


def left_open(gates: Sequence[Gate], paths: Sequence[PathRun]) -> tuple[str, ...]:
    """The sentences, none where every gate was judged and every execution path executed."""
    found = []
    if skipped := sum(isinstance(gate.verdict, Skipped) for gate in gates):
        what = "One gate" if skipped == 1 else f"{skipped} gates"
        found.append(f"{what} could not be checked: the reasons stand with the gates.")
    unexecuted: dict[str, list[str]] = {}
    for run in paths:
        if isinstance(run.result, Skipped):
            unexecuted.setdefault(run.title, []).append(run.artifact)
    if unexecuted:
        named = "; ".join(f"{title} ({', '.join(artifacts)})" for title, artifacts in unexecuted.items())
        found.append(f"Not executed: {named}. The reasons stand with the execution paths.")
    return tuple(found)
