"""What a CI job is told: its summary page gets reports, its errors what did not pass, others nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from exporter.ci_errors import ACTIONS, error_line
from exporter.commands.job_page import (
    MOST_SUMMARY,
    SUMMARY,
    TOO_LONG,
    tell_job,
    tell_job_left_out,
    tell_job_recorded,
)
from exporter.running.recorded_check import RecordedCheck, RecordedGate
from exporter.validation.verdict import Failed, Skipped, at_most
from exporter.views.markdown import to_markdown
from tests.golden.reports import failing, inconclusive, passing
from tests.reported_release import report_of_three


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(SUMMARY, str(tmp_path / "summary.md"))
    monkeypatch.setenv(ACTIONS, "true")
    return tmp_path / "summary.md"


def test_reports_follow_one_another_on_the_jobs_page(page: Path) -> None:
    tell_job(passing())
    tell_job(failing())
    assert page.read_text(encoding="utf-8") == f"{to_markdown(passing())}\n{to_markdown(failing())}\n"


def test_a_page_that_is_full_is_told_where_the_report_is(page: Path) -> None:
    page.write_text("x" * MOST_SUMMARY, encoding="utf-8")
    tell_job(passing())
    assert page.read_text(encoding="utf-8").endswith(f"x{TOO_LONG}")


@pytest.mark.parametrize("place", [".", "nowhere/summary.md"])
def test_a_page_that_cannot_be_written_costs_the_page_alone(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(SUMMARY, str(tmp_path / place))
    monkeypatch.setenv(ACTIONS, "true")
    tell_job(failing())
    told = capsys.readouterr()
    assert "cannot be written" in told.err
    assert told.out.startswith("::error title=")


def test_a_check_by_recorded_calls_names_what_changed_among_the_errors(
    page: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gates = (
        RecordedGate("files", "", "differences", at_most(1, 0, "files")),
        RecordedGate("m.onnx", "", "largest KL", at_most(0.0, 0.01, "nats")),
        RecordedGate("m.tflite", "", "recorded calls", Skipped("LiteRT is not installed")),
    )
    tell_job_recorded(RecordedCheck("tiny", "int8", "desktop", gates, ("m.onnx: is missing.",)))
    changed, differences, skipped = capsys.readouterr().out.splitlines()
    assert changed == "::error title=tiny%2C recorded calls::m.onnx: is missing."
    assert "files: differences is" in differences
    assert skipped.endswith("m.tflite: recorded calls could not be checked: LiteRT is not installed")


def test_a_device_without_a_release_is_an_error(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (device, *_) = report_of_three().devices
    tell_job_left_out([device])
    told = capsys.readouterr().out
    assert told == f"::error title={device.profile}%2C nothing fits::{device.reason}\n".replace(
        " %", " %25"
    )


def test_every_gate_that_did_not_pass_is_an_error(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for report in (passing(), failing(), inconclusive()):
        tell_job(report)
        lines = capsys.readouterr().out.splitlines()
        wrong = [gate for gate in report.gates if isinstance(gate.verdict, Failed | Skipped)]
        assert len(lines) == len(wrong)
        for line, gate in zip(lines, wrong, strict=True):
            assert line.startswith("::error title=")
            assert gate.statistic.replace("%", "%25") in line


def test_no_more_errors_than_a_job_shows(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (gate, *_) = (gate for gate in failing().gates if isinstance(gate.verdict, Failed))
    tell_job(replace(failing(), gates=(gate,) * 30))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 11
    assert "the report has all of them" in lines[-1]


def test_outside_of_a_job_nothing_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(SUMMARY, raising=False)
    monkeypatch.setenv(ACTIONS, "false")
    tell_job(failing())
    assert capsys.readouterr().out == ""
    assert list(tmp_path.iterdir()) == []


def test_what_means_something_to_the_reader_is_escaped() -> None:
    said = error_line("a: b, c", "100 % of\nlines")
    assert said == "::error title=a%3A b%2C c::100 %25 of%0Alines"
