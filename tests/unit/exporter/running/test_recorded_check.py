"""A check by recorded calls says what it did not run. Not about replaying (`tests/end_to_end`)."""

from __future__ import annotations

from pathlib import Path

from exporter.running.recorded_check import check_by_record
from tests.fakes import silent
from tests.scripted_media import seeing_release
from tests.unit.exporter.packaging.test_release import sealed


def test_towers_that_no_recorded_call_runs_are_named(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    seeing_release(tmp_path / "a")
    (remark,) = (
        each for each in check_by_record(tmp_path / "a" / "release", silent).remarks if "picture" in each
    )
    assert "were not run (onnx/vision.onnx, coreml/vision.mlpackage)" in remark
    text = check_by_record(sealed(tmp_path / "b"), silent)
    assert not any("picture" in each for each in text.remarks)
