"""report.schema.json, held against a library that knows JSON Schema: it takes what is read, and no more."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from jsonschema import Draft202012Validator

from exporter.errors import ReleaseError
from exporter.validation.report import REPORT_SCHEMA_VERSION, ValidationReport
from exporter.views.json_report import from_json, to_json
from exporter.views.json_schema import SCHEMA, report_schema, schema_text
from tests.any_report import any_report
from tests.golden.reports import REPORTS, passing

VALIDATOR = Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))


def test_the_file_that_ships_is_the_schema_of_this_version() -> None:
    """`python -m exporter.views.json_schema` writes it."""
    assert SCHEMA.read_text(encoding="utf-8") == schema_text()
    assert report_schema()["$id"] == f"urn:gemma-export:report:{REPORT_SCHEMA_VERSION}"
    Draft202012Validator.check_schema(report_schema())


@pytest.mark.parametrize("make", REPORTS.values(), ids=REPORTS)
def test_reports_are_what_it_says(make: Callable[[], ValidationReport]) -> None:
    VALIDATOR.validate(json.loads(to_json(make())))


@settings(max_examples=25)
@given(any_report())
def test_any_report_at_all_is_what_it_says(report: ValidationReport) -> None:
    VALIDATOR.validate(json.loads(to_json(replace(report, schema_version=REPORT_SCHEMA_VERSION))))


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: raw.update(extra=1),
        lambda raw: raw.update(schema_version=6),
        lambda raw: raw.update(outcome="fine"),
        lambda raw: raw.pop("machine"),
        lambda raw: raw["gates"][2].update(kind="speed"),
        lambda raw: raw["gates"][2]["verdict"].update({"is": "fine"}),
        lambda raw: raw["gates"][2]["verdict"].update(limit="low"),
        lambda raw: raw["gates"][2]["verdict"].pop("unit"),
        lambda raw: raw["devices"][0].update(fit="perhaps"),
        lambda raw: raw["devices"][0]["artifacts"][0]["memory"].update(weights="much"),
        lambda raw: raw["domains"][0]["statistics"].pop("top1"),
        lambda raw: raw["comparisons"][0]["kl"]["counts"].append(0.5),
        lambda raw: raw["weight_errors"][0].update(layer="first"),
        lambda raw: raw["versions"].update(torch=2),
    ],
)
def test_it_refuses_what_is_refused_when_read(change: Callable[[dict[str, Any]], None]) -> None:
    raw = json.loads(to_json(passing()))
    change(raw)
    assert not VALIDATOR.is_valid(raw)
    with pytest.raises(ReleaseError):
        from_json(json.dumps(raw), "report.json")


def test_every_class_of_a_report_is_described() -> None:
    described = {name for name, each in report_schema()["$defs"].items() if "description" in each}
    assert {"Comparison", "DeviceVerdict", "DomainAgreement", "KlSpread", "WeightError"} <= described
