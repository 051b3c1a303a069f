"""report.json: the report itself, in a versioned schema; every other view is made from it.

Written and read strictly: reading what was written gives the same report.
"""

from __future__ import annotations

import json
from pathlib import Path

from exporter.errors import ReleaseError
from exporter.validation.report import REPORT_SCHEMA_VERSION, ValidationReport
from runtimes.excerpt import excerpt
from runtimes.records import RecordError, from_plain, to_plain
from runtimes.strict_json import parse_json

REPORT_NAME = "report.json"


def to_json(report: ValidationReport) -> str:
    """The report as JSON. `outcome`, which follows from the gates, comes first for human readers."""
    members = {"outcome": report.outcome, **to_plain(report)}
    return json.dumps(members, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def read_report(path: Path) -> ValidationReport:
    """Read and check a report.json. Raises ReleaseError naming the file and the key at fault."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ReleaseError(path, "no such file", "is this a release directory?") from error
    except (OSError, ValueError) as error:
        raise ReleaseError(path, f"cannot be read ({error})", "validate the release again") from error
    return from_json(text, str(path))


def from_json(text: str, where: str) -> ValidationReport:
    """Parse a report. where: its file's name, for errors. Raises ReleaseError."""
    try:
        raw = parse_json(text)
    except ValueError as error:
        raise ReleaseError(where, f"is not JSON ({error})", "validate the release again") from error
    found = raw.get("schema_version") if isinstance(raw, dict) else None
    if isinstance(raw, dict) and found != REPORT_SCHEMA_VERSION:
        raise ReleaseError(
            where,
            f"schema_version is {excerpt(found)} and this version reads {REPORT_SCHEMA_VERSION}",
            "use the gemma-export that wrote it, or validate the release again",
        )
    outcome = raw.pop("outcome", None) if isinstance(raw, dict) else None
    try:
        report = from_plain(ValidationReport, raw)
        if outcome != report.outcome:
            raise RecordError("$.outcome", f"is {excerpt(outcome)} and the gates say {report.outcome!r}")
    except RecordError as error:
        raise ReleaseError(f"{where}: {error.at}", error.what, "validate the release again") from error
    return report
