"""All files a report becomes, written into one directory, and the schema of the one for machines.

Not about what any of them looks like: one module each.
"""

from __future__ import annotations

from pathlib import Path

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
