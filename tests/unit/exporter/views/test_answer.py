"""What a report says first: devices, five figures, domains, and the gates that do not hold."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from exporter.planning.device_verdict import DecodeSpeed
from exporter.validation.report import ValidationReport
from exporter.validation.verdict import Failed, Skipped
from exporter.views.answer import (
    device_reasons,
    device_sentences,
    device_table,
    domain_table,
    failures,
    fit_sentences,
    key_figures,
)
from exporter.views.short_names import short_names
from tests.golden.parts import IPHONE, PIXEL
from tests.golden.reports import REPORTS, failing, inconclusive, passing


def cells(report: ValidationReport) -> list[dict[str, str]]:
    table = device_table(report)
    names = [column.name for column in table.columns]
    return [{**dict(zip(names, row.cells, strict=True)), "fit": row.verdict} for row in table.rows]


def test_a_device_is_a_row_of_the_format_that_decides() -> None:
    pixel, iphone = cells(passing())
    assert pixel == {
        "Device": "Pixel 8 (Tensor G3)",
        "Peak of budget": "675–776 of 4,295 MB",
        "Size": "278 MB",
        "KV cache": "75 MB",
        "Decode tokens/s": "38–71, at most 183",
        "Recipe": "int8",
        "Context": "2,048",
        "Format": "litertlm on GPU",
        "Facts": "unverified",
        "fit": "fits",
    }
    assert iphone["Peak of budget"] == "397–417 of 6,000 MB", (
        "what the entitlement allows, where it is needed"
    )
    assert (iphone["Decode tokens/s"], iphone["Facts"]) == ("not known", "sourced")


def test_a_peak_and_its_budget_are_of_one_unit_that_tells_them_apart() -> None:
    takes, most = PIXEL.artifacts[0].peak_bytes, PIXEL.artifacts[0].most_bytes
    devices = tuple(replace(PIXEL, budget_bytes=takes + more) for more in (0, 1))
    full, over = (row["Peak of budget"] for row in cells(replace(passing(), devices=devices)))
    assert full == "675–776 of 675 MB", "what is equal need not be told apart"
    assert over == f"{takes:,}–{most:,} of {takes + 1:,} bytes"


def test_a_speed_without_a_source_says_so_where_the_rest_has_one() -> None:
    guessed = replace(PIXEL.artifacts[1], decode=DecodeSpeed(1.0, 2.0, 3.0, sourced=False))
    (row,) = cells(replace(passing(), devices=(replace(IPHONE, artifacts=(guessed,)),)))
    assert row["Decode tokens/s"] == "1–2, at most 3 (unverified)"


@pytest.mark.parametrize("name", REPORTS)
def test_that_no_device_took_part_is_always_said(name: str) -> None:
    assert device_sentences(REPORTS[name]())[0].startswith("No device took part")


def test_where_no_device_was_asked_about_the_reason_is_told() -> None:
    assert "checked again" in device_sentences(replace(passing(), devices=()))[0], (
        "it has a gate on its files"
    )
    assert "for no device in particular" in device_sentences(inconclusive())[0]
    assert fit_sentences(inconclusive()) == ()
    assert fit_sentences(failing()) == ("By prediction it fits 1 of 2 devices.",)


def test_what_may_not_fit_or_is_not_run_as_it_is_meant_to_is_no_plain_pass() -> None:
    tight = replace(PIXEL, fit="may not fit", budget_bytes=700_000_000)
    web = replace(PIXEL, artifacts=(replace(PIXEL.artifacts[0], instead_of_gpu="by WebAssembly"),))
    report = replace(passing(), devices=(PIXEL, tight, web))
    assert fit_sentences(report) == (
        "By prediction it fits 2 of 3 devices, on 1 of them not on the GPU, and may not fit 1 of them.",
    )
    _, one, other = cells(report)
    assert (one["fit"], one["Peak of budget"]) == ("may not fit", "675–776 of 700 MB")
    assert other["fit"] == "fits by WebAssembly, not on its GPU"
    assert other["Format"] == "litertlm by WebAssembly"
    assert [row.mark for row in device_table(report).rows] == ["passed", "skipped", "skipped"]
    assert len(device_sentences(report)) == 4, "why of both"


def test_why_a_device_does_not_simply_fit_is_told_at_once_and_the_rest_later() -> None:
    _, how_far_off, *first = device_sentences(passing())
    assert "was measured" in how_far_off
    assert first == [f"iPhone 15 Pro: {IPHONE.reason}"]
    assert device_reasons(passing()) == (f"Pixel 8 (Tensor G3): {PIXEL.reason}", *first)


@pytest.mark.parametrize("name", REPORTS)
def test_there_are_five_figures_whatever_was_measured(name: str) -> None:
    report = REPORTS[name]()
    found = key_figures(report, short_names(report))
    assert len(found) == 5
    assert all(each.title and each.value and each.note for each in found)


def test_the_figures_are_those_of_the_worst() -> None:
    gates, kl, top1, domain, size = key_figures(passing(), short_names(passing()))
    assert (gates.value, gates.mark) == ("22 of 22", "passed")
    assert (kl.value, kl.note) == ("0.0171", "model.litertlm, longest route, limit ≤ 0.03 nats")
    assert (top1.value, top1.mark) == ("93.12 %", "passed")
    assert (domain.value, domain.note) == ("hindi 0.0142", "mean KL; 0 of 5 beyond the limit")
    assert size.value == "278 MB"
    broken = key_figures(failing(), short_names(failing()))
    assert broken[1].value == "not a number", "worse than any number"
    assert [each.mark for each in broken[:4]] == ["failed"] * 4


def test_the_domains_that_fail_are_marked_and_the_worst_comes_first() -> None:
    rows = domain_table(failing()).rows
    assert [(row.cells[0], row.mark) for row in rows[:3]] == [
        ("hindi", "failed"), ("japanese", "failed"), ("chat", "passed"),
    ]  # fmt: skip
    (first, *_) = failing().domains
    lost = replace(first, statistics=replace(first.statistics, mean_kl=math.nan))
    rows = domain_table(replace(failing(), domains=(*failing().domains, lost), gates=())).rows
    assert (rows[0].cells[2], rows[0].mark) == ("not a number", "none"), (
        "without a limit there is no verdict"
    )


def test_every_gate_that_does_not_hold_is_in_the_first_lines() -> None:
    report = failing()
    found = failures(report, short_names(report))
    verdicts = [gate.verdict for gate in report.gates]
    assert [mark for mark, _ in found].count("failed") == sum(isinstance(each, Failed) for each in verdicts)
    assert [mark for mark, _ in found].count("skipped") == sum(
        isinstance(each, Skipped) for each in verdicts
    )
    assert failures(passing(), short_names(passing())) == ()
