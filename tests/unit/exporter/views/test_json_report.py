"""report.json: what is written is read back the same, and anything else is refused by its path."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from exporter.errors import ReleaseError
from exporter.validation.report import REPORT_SCHEMA_VERSION, ValidationReport
from exporter.views.json_report import from_json, read_report, to_json
from tests.any_report import any_report
from tests.golden.reports import REPORTS, failing, inconclusive, passing


@pytest.mark.parametrize("make", REPORTS.values(), ids=REPORTS)
def test_reading_what_was_written_gives_the_same_report(make: Callable[[], ValidationReport]) -> None:
    report = make()
    read = from_json(to_json(report), "report.json")
    # repr, since a NaN is not equal to itself.
    assert repr(read) == repr(report)
    assert read.outcome == report.outcome
    assert to_json(read) == to_json(report)


def test_reports_without_a_nan_are_equal_after_the_round_trip() -> None:
    for report in (passing(), inconclusive()):
        assert from_json(to_json(report), "report.json") == report


@settings(max_examples=40)
@given(any_report())
def test_any_report_at_all_survives_the_round_trip(report: ValidationReport) -> None:
    report = replace(report, schema_version=REPORT_SCHEMA_VERSION)
    assert repr(from_json(to_json(report), "report.json")) == repr(report)


def test_the_file_is_json_for_every_parser_and_says_the_outcome_first() -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    raw = json.loads(to_json(failing()), parse_constant=refuse)
    assert next(iter(raw)) == "outcome"
    assert raw["outcome"] == "failed"


def edited(change: Callable[[dict[str, Any]], None]) -> str:
    raw = json.loads(to_json(passing()))
    change(raw)
    return json.dumps(raw)


@pytest.mark.parametrize(
    ("change", "at"),
    [
        (lambda raw: raw.update(extra=1), "$.extra"),
        (lambda raw: raw.pop("machine"), "$.machine"),
        (lambda raw: raw["gates"][2].update(kind="speed"), "$.gates[2].kind"),
        (lambda raw: raw["gates"][2]["verdict"].update({"is": "fine"}), "$.gates[2].verdict.is"),
        (lambda raw: raw["gates"][2]["verdict"].update(limit="low"), "$.gates[2].verdict.limit"),
        (lambda raw: raw["gates"][2]["verdict"].pop("unit"), "$.gates[2].verdict.unit"),
        (lambda raw: raw["comparisons"][0]["statistics"].pop("top1"), "$.comparisons[0].statistics.top1"),
        (lambda raw: raw["runs"][0].update(context="2048"), "$.runs[0].context"),
        (lambda raw: raw["runs"][0]["greedy"][0].update(agreed=1.5), "$.runs[0].greedy[0].agreed"),
        (lambda raw: raw["versions"].update(torch=2), "$.versions.torch"),
        (lambda raw: raw.update(outcome="failed"), "$.outcome"),
        (lambda raw: raw.pop("outcome"), "$.outcome"),
    ],
)
def test_a_wrong_report_is_refused_with_its_path(change: Callable[[dict[str, Any]], None], at: str) -> None:
    with pytest.raises(ReleaseError) as caught:
        from_json(edited(change), "release/report.json")
    assert caught.value.where == f"release/report.json: {at}"


def test_a_failed_gate_cannot_be_hidden_behind_a_passed_outcome() -> None:
    text = to_json(failing()).replace('"outcome": "failed"', '"outcome": "passed"')
    with pytest.raises(ReleaseError, match="the gates say 'failed'"):
        from_json(text, "report.json")


def test_another_schema_version_is_refused_by_number() -> None:
    text = to_json(replace(passing(), schema_version=99))
    with pytest.raises(ReleaseError, match="schema_version is 99"):
        from_json(text, "report.json")


@pytest.mark.parametrize("text", ["", "[]", "null", "{"])
def test_what_is_not_a_report_is_refused(text: str) -> None:
    with pytest.raises(ReleaseError, match=r"report\.json"):
        from_json(text, "report.json")


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="no such file"):
        read_report(tmp_path / "report.json")
    (tmp_path / "report.json").write_text(to_json(passing()), encoding="utf-8")
    assert read_report(tmp_path / "report.json") == passing()
