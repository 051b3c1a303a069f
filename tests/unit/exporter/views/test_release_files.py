"""A report written beside no release: where it may lie.

Not about what the files say (the tests of each view).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.errors import UsageError
from exporter.views.release_files import require_apart, write_report_apart
from tests.golden.reports import passing


def test_a_new_or_empty_directory_gets_every_file(tmp_path: Path) -> None:
    release, report = tmp_path / "release", tmp_path / "new" / "report"
    require_apart(report, release)
    write_report_apart(passing(), report)
    assert {each.name for each in report.iterdir()} >= {"report.html", "report.json", "report.md"}
    (tmp_path / "empty").mkdir()
    require_apart(tmp_path / "empty", release)


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("release/report", "whose files are sealed"),
        ("release", "whose files are sealed"),
        ("full", "not an empty directory"),
        ("full/file", "not an empty directory"),
        ("full/file/report", "cannot be written"),
    ],
)
def test_any_other_place_is_refused(place: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "release").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("kept", encoding="utf-8")
    with pytest.raises(UsageError, match=said):
        require_apart(tmp_path / place, tmp_path / "release")
    assert (tmp_path / "full" / "file").read_text(encoding="utf-8") == "kept"
