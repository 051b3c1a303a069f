"""All files a report becomes, written into one directory, and the schema of the one for machines.

Not about what any of them looks like: one module each.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from exporter.errors import UsageError
from exporter.validation.report import ValidationReport
from exporter.views.html_report import HTML_NAME, to_html
from exporter.views.json_report import REPORT_NAME, to_json
from exporter.views.json_schema import SCHEMA, SCHEMA_NAME
from exporter.views.junit import to_junit
from exporter.views.markdown import to_markdown

JUNIT_NAME = "junit.xml"
MARKDOWN_NAME = "report.md"


def write_views(report: ValidationReport, directory: Path) -> tuple[Path, ...]:
    """Write report.json, its schema, report.html, junit.xml and report.md; returns their paths so."""
    contents = {
        REPORT_NAME: to_json(report),
        SCHEMA_NAME: SCHEMA.read_text(encoding="utf-8"),
        HTML_NAME: to_html(report),
        JUNIT_NAME: to_junit(report),
        MARKDOWN_NAME: to_markdown(report),
    }
    for name, content in contents.items():
        (directory / name).write_text(content, encoding="utf-8")
    return tuple(directory / name for name in contents)


def write_report_apart(report: ValidationReport, directory: Path) -> None:
    """The same beside no release: into a directory that `require_apart` let pass. Raises UsageError."""
    with _explaining(directory):
        directory.mkdir(parents=True, exist_ok=True)
        write_views(report, directory)


def require_apart(directory: Path, release: Path) -> None:
    """Raise UsageError for a directory that holds something, or that is in the release: every file there is
    its manifest's."""
    if directory.resolve().is_relative_to(release.resolve()):
        raise UsageError(
            f"--report {directory}", f"lies in {release}, whose files are sealed", "name another directory"
        )
    with _explaining(directory):
        if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
            raise UsageError(
                f"--report {directory}", "is there and not an empty directory", "name another, or empty it"
            )
        above = next(each for each in (directory, *directory.absolute().parents) if each.exists())
        if not above.is_dir() or not os.access(above, os.W_OK):
            raise UsageError(
                f"--report {directory}", f"cannot be written ({above})", "name another directory"
            )


@contextmanager
def _explaining(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"--report {directory}", f"cannot be written ({error.strerror})", "name another directory"
        ) from error
