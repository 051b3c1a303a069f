"""The machine-read and plain-text views, byte for byte, against files somebody has read.

Formats covered: JSON, JUnit XML, Markdown, the card's quality section. Not asserted: HTML and the
terminal, whose structure has tests of its own. Regenerate with `python -m tests.golden.generate`.
"""

from __future__ import annotations

import pytest

from tests.golden.generate import DIRECTORY, VIEWS, golden_path
from tests.golden.reports import REPORTS


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", REPORTS)
def test_a_view_is_what_was_checked_in(name: str, view: str) -> None:
    with golden_path(name, view).open(encoding="utf-8", newline="") as file:
        assert VIEWS[view](REPORTS[name]()) == file.read()


def test_no_golden_file_is_left_over() -> None:
    expected = {golden_path(name, view) for name in REPORTS for view in VIEWS}
    found = {path for path in DIRECTORY.iterdir() if path.is_file() and path.suffix != ".py"}
    assert found == expected


def test_the_reports_have_every_outcome_between_them() -> None:
    assert {make().outcome for make in REPORTS.values()} == {"passed", "failed", "inconclusive"}
