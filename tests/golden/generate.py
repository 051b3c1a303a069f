"""Write the golden files: `python -m tests.golden.generate`, then read the diff before committing.

Not about HTML, whose looks change more often than its structure; see test_html_report.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from exporter.validation.report import ValidationReport
from exporter.views.json_report import to_json
from exporter.views.junit import to_junit
from exporter.views.markdown import quality_section, to_markdown
from tests.golden.reports import REPORTS

DIRECTORY = Path(__file__).parent


VIEWS: dict[str, Callable[[ValidationReport], str]] = {
    "json": to_json,
    "junit.xml": to_junit,
    "md": to_markdown,
    "quality.md": quality_section,
}


def golden_path(name: str, view: str) -> Path:
    return DIRECTORY / f"{name}.{view}"


if __name__ == "__main__":
    for name, make in REPORTS.items():
        for view, render in VIEWS.items():
            golden_path(name, view).write_text(render(make()), encoding="utf-8", newline="")
