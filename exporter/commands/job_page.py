"""What a CI job is told beside the console: reports on its summary page, what failed as its errors.

The page is the file that $GITHUB_STEP_SUMMARY names; where nothing is set, nothing is told. Not about exit
codes, or what is refused (`exporter.exits`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from exporter.ci_errors import error_line, in_actions

if TYPE_CHECKING:
    from exporter.planning.device_verdict import DeviceVerdict
    from exporter.running.recorded_check import RecordedCheck, RecordedGate
    from exporter.validation.report import Gate, ValidationReport

SUMMARY = "GITHUB_STEP_SUMMARY"
MOST_SUMMARY = 1 << 20  # bytes that a step's summary may have
MOST_ERRORS = 10  # a step shows no more
TOO_LONG = "The report is longer than a summary page may be: it is report.md of the release.\n"


def tell_job(report: ValidationReport) -> None:
    """Put a report on the job's page, where there is one, and what did not pass among its errors.

    A page that cannot be written is said on stderr, and is no reason to lose what was found.
    """
    if page := os.environ.get(SUMMARY):
        try:
            _append(Path(page), report)
        except OSError as error:
            click.echo(
                f"${SUMMARY}: {page} cannot be written ({error.strerror}); goes on without", err=True
            )
    if in_actions():
        for line in _errors(report):
            click.echo(line)


def tell_job_left_out(devices: Iterable[DeviceVerdict]) -> None:
    """Put devices that no release is for among the job's errors: no gate speaks of them."""
    if in_actions():
        for device in islice(devices, MOST_ERRORS):
            click.echo(error_line(f"{device.profile}, nothing fits", device.reason))


def tell_job_recorded(check: RecordedCheck) -> None:
    """Put what did not pass of a check by recorded calls among the job's errors, changed files first."""
    if in_actions():
        wrong = (f"{each.subject}: {why}" for each in check.gates if (why := _wrong(each)) is not None)
        for line in islice((*check.remarks, *wrong), MOST_ERRORS):
            click.echo(error_line(f"{check.model}, recorded calls", line))


def _append(page: Path, report: ValidationReport) -> None:
    from exporter.views.markdown import to_markdown

    text = f"{to_markdown(report)}\n"
    taken = page.stat().st_size if page.exists() else 0
    with page.open("a", encoding="utf-8") as file:
        file.write(text if taken + len(text.encode()) <= MOST_SUMMARY else TOO_LONG)


def _errors(report: ValidationReport) -> Iterator[str]:
    told = 0
    for gate in report.gates:
        if (why := _wrong(gate)) is None:
            continue
        if told == MOST_ERRORS:
            yield error_line(report.model, "and more; the report has all of them")
            return
        told += 1
        what = " ".join(each for each in (gate.artifact, gate.subject) if each is not None)
        yield error_line(f"{report.model}, {gate.kind}", f"{what}: {why}")


def _wrong(gate: Gate | RecordedGate) -> str | None:
    """What did not pass, a clause; None where it did."""
    from exporter.validation.verdict import Failed, Skipped
    from exporter.views.wording import bound, quantity

    match gate.verdict:
        case Failed(measured, _, unit) as verdict:
            return f"{gate.statistic} is {quantity(measured, unit)}, the limit {bound(verdict)}"
        case Skipped(reason):
            return f"{gate.statistic} could not be checked: {reason}"
        case _:
            return None
