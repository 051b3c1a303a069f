"""`Verdict`: the outcome of one gate, as a value.

A comparison that could not be made is `Skipped` with its reason, and a skip never counts as a pass.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, assert_never

FAILURES = "failures to run"  # what a gate counts of an artifact that did not run to the end


@dataclass(frozen=True)
class Passed:
    measured: float
    limit: float
    unit: str


@dataclass(frozen=True)
class Failed:
    measured: float
    limit: float
    unit: str


@dataclass(frozen=True)
class Skipped:
    reason: str


Verdict = Passed | Failed | Skipped


def at_most(measured: float, limit: float, unit: str) -> Verdict:
    """Passed if measured <= limit. A NaN or infinite measurement fails."""
    holds = math.isfinite(measured) and measured <= limit
    return Passed(measured, limit, unit) if holds else Failed(measured, limit, unit)


def at_least(measured: float, limit: float, unit: str) -> Verdict:
    """Passed if measured >= limit. A NaN or infinite measurement fails."""
    holds = math.isfinite(measured) and measured >= limit
    return Passed(measured, limit, unit) if holds else Failed(measured, limit, unit)


Outcome = Literal["passed", "failed", "inconclusive"]


def outcome(verdicts: Iterable[Verdict]) -> Outcome:
    """All passed; any failed; otherwise (something skipped, or nothing checked) inconclusive."""
    found = list(verdicts)
    skipped = not found
    for verdict in found:
        match verdict:
            case Failed():
                return "failed"
            case Skipped():
                skipped = True
            case Passed():
                pass
            case _:
                assert_never(verdict)
    return "inconclusive" if skipped else "passed"


EXIT_CODES: dict[Outcome, int] = {"passed": 0, "failed": 1, "inconclusive": 3}
