"""Releases beside the one before by their reports: what is subtracted, and what is said instead."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from exporter.validation.report import ValidationReport
from exporter.validation.reported import ReportedRelease, reported_release, side_by_side
from exporter.views.answer import key_figures
from exporter.views.card_quality import measured_quality
from exporter.views.short_names import short_names
from exporter.views.wording import number, percent
from tests.golden.parts import COREML, LITERT, ONNX
from tests.reported_release import SOURCE, report_of_three


def release(
    directory: str = "v1", report: ValidationReport | None = None, source: dict[str, str] = SOURCE
) -> ReportedRelease:
    return reported_release(directory, report or report_of_three(), source)


def later(**changes: object) -> ValidationReport:
    """The next release: every artifact smaller, slower and farther off than before."""
    report = report_of_three()
    runs = tuple(
        replace(run, bytes=run.bytes // 2, decode_tokens_per_second=32.8, peak_resident_bytes=1_155_000_000)
        for run in report.runs
    )
    comparisons = tuple(
        replace(
            each,
            statistics=replace(
                each.statistics, mean_kl=3 * each.statistics.mean_kl, top1=each.statistics.top1 - 0.02
            ),
        )
        for each in report.comparisons
    )
    return replace(report, runs=runs, comparisons=comparisons, **changes)  # type: ignore[arg-type]  # any field


def test_figures_are_those_of_the_report() -> None:
    found = release()
    assert [each.artifact for each in found.artifacts] == [LITERT, ONNX, COREML]
    assert (found.outcome, found.held, found.gates) == ("passed", 22, 22)
    onnx = found.artifacts[1]
    assert onnx.end_to_end is not None
    assert onnx.end_to_end.mean_kl == 0.0042
    assert (onnx.decode_tokens_per_second, onnx.cache_bytes) == (65.6, 75_497_472)


def test_the_route_farthest_from_the_original_stands_for_an_artifact() -> None:
    report = report_of_three()
    (onnx,) = [each for each in report.comparisons if (each.kind, each.artifact) == ("end to end", ONNX)]
    for worse in (0.5, math.nan):
        other = replace(onnx, route="decode", statistics=replace(onnx.statistics, mean_kl=worse))
        found = release(report=replace(report, comparisons=(other, *report.comparisons))).artifacts[1]
        assert found.end_to_end == other.statistics


def test_a_route_over_fewer_positions_does_not_stand_for_an_artifact() -> None:
    report = report_of_three()
    (onnx,) = [each for each in report.comparisons if (each.kind, each.artifact) == ("end to end", ONNX)]
    few = replace(onnx, route="turns", statistics=replace(onnx.statistics, positions=58, mean_kl=0.5))
    found = release(report=replace(report, comparisons=(few, *report.comparisons))).artifacts[1]
    assert found.end_to_end == onnx.statistics


def test_each_artifact_is_held_against_the_same_in_the_release_before() -> None:
    found = side_by_side([release("v1"), release("v2", later()), release("v3", later())])
    assert found.remarks == ()
    assert [(each.directory, each.before_directory) for each in found.changes] == (
        3 * [("v2", "v1")] + 3 * [("v3", "v2")]
    )
    change = found.changes[1]
    assert (change.artifact, change.before_artifact) == (ONNX, ONNX)
    assert change.bytes == pytest.approx(-0.5)
    assert change.mean_kl == pytest.approx(2.0)
    assert change.top1 == pytest.approx(-0.02)
    assert change.decode_tokens_per_second == pytest.approx(-0.5)
    assert change.prefill_tokens_per_second == 0
    assert change.peak_resident_bytes == pytest.approx(0.1)
    assert {each.mean_kl for each in found.changes[3:]} == {0}


def test_a_file_that_got_another_name_is_still_held_against_its_format() -> None:
    report = report_of_three()
    runs = tuple(replace(run, artifact=f"new/{run.artifact}") for run in report.runs)
    found = side_by_side([release("v1"), release("v2", replace(report, runs=runs))])
    assert [each.before_artifact for each in found.changes] == [LITERT, ONNX, COREML]


def test_a_format_run_in_two_ways_is_held_against_the_way_that_is_the_same() -> None:
    report = report_of_three()
    core = report.runs[2]
    both = replace(report, runs=(replace(core, arithmetic="fp32"), core))
    found = side_by_side([release("v1", both), release("v2", both)])
    assert [each.decode_tokens_per_second for each in found.changes] == [0, 0]
    slow = replace(core, arithmetic="fp32", decode_tokens_per_second=6.56)
    found = side_by_side([release("v1", both), release("v2", replace(report, runs=(core, slow)))])
    assert [each.decode_tokens_per_second for each in found.changes] == pytest.approx([0, -0.9])


def test_what_was_not_measured_has_no_change() -> None:
    report = report_of_three()
    runs = tuple(
        replace(run, decode_tokens_per_second=None, peak_resident_bytes=None, cache=None)
        for run in report.runs
    )
    found = side_by_side([release("v1", replace(report, runs=runs, comparisons=())), release("v2")])
    for change in found.changes:
        assert change.decode_tokens_per_second is change.peak_resident_bytes is change.cache_bytes is None
        assert change.mean_kl is change.top1 is None
        assert change.bytes == 0


def quality_and_pace(found: ReportedRelease) -> tuple[bool, bool]:
    """Whether its quality and its pace are held against the first release's."""
    compared = side_by_side([release("v1"), found])
    quality = {each.mean_kl is not None and each.top1 is not None for each in compared.changes}
    pace = {
        each.decode_tokens_per_second is not None and each.peak_resident_bytes is not None
        for each in compared.changes
    }
    assert len(quality) == len(pace) == 1
    return quality.pop(), pace.pop()


def remarks(found: ReportedRelease) -> tuple[str, ...]:
    return side_by_side([release("v1"), found]).remarks


def test_quality_of_another_checkpoint_is_said_and_not_subtracted() -> None:
    other = release("v2", later(model="gemma-3-1b"), {**SOURCE, "model.safetensors": "c" * 64})
    (said,) = remarks(other)
    assert said.startswith(
        "v2 was made from another checkpoint than v1 (gemma-3-1b, and gemma-3-270m before)"
    )
    assert quality_and_pace(other) == (False, True)


def test_a_file_that_earlier_versions_did_not_look_at_makes_no_other_checkpoint() -> None:
    assert remarks(release("v2", source={**SOURCE, "added_tokens.json": "d" * 64})) == ()
    assert remarks(release("v2", source={**SOURCE, "adapter/a.safetensors": "d" * 64})) != ()


def test_quality_on_another_text_is_said_and_not_subtracted() -> None:
    other = release("v2", later(text_sha256="7a" * 32))
    (said,) = remarks(other)
    assert "on another text than v1 (SHA-256 7a7a7a7a7a7a, and 3f3f3f3f3f3f before)" in said
    assert quality_and_pace(other) == (False, True)


def test_the_pace_of_another_machine_is_said_and_not_subtracted() -> None:
    other = release("v2", later(machine={"system": "Darwin 24", "processor": "arm64", "cores": "12"}))
    (said,) = remarks(other)
    assert said.startswith("v2 was made on another machine than v1")
    assert quality_and_pace(other) == (True, False)


def test_releases_without_a_format_in_common_are_said_to_have_none() -> None:
    report = report_of_three()
    found = side_by_side(
        [
            release("v1", replace(report, runs=report.runs[:1])),
            release("v2", replace(report, runs=report.runs[1:])),
        ]
    )
    assert found.changes == ()
    assert found.remarks == ("v2 and v1 have no format in common, so no artifact of them is compared.",)


def test_another_context_is_said_as_memory_is_of_it() -> None:
    report = report_of_three()
    longer = replace(report, runs=tuple(replace(run, context=4096) for run in report.runs))
    (said,) = remarks(release("v2", longer))
    assert said.startswith("v2 has a context of 4,096 and v1 one of 2,048")


def test_the_headline_and_releases_side_by_side_have_one_figure() -> None:
    """A short route that strays further is in the report's tables, and stands for nothing else."""
    report = report_of_three()
    whole = [each for each in report.comparisons if each.kind == "end to end"]
    short = tuple(
        replace(
            each,
            route="299 decode steps",
            statistics=replace(each.statistics, positions=299, mean_kl=9.0, top1=0.1),
        )
        for each in whole
    )
    report = replace(report, comparisons=(*short, *report.comparisons))
    shown = [each.end_to_end for each in release(report=report).artifacts if each.end_to_end is not None]
    _, kl, top1, *_ = key_figures(report, short_names(report))
    assert kl.value == number(max(each.mean_kl for each in shown))
    assert top1.value == percent(min(each.top1 for each in shown))
    figures = measured_quality(report).figures
    assert {each.value for each in figures if each.metric == "mean_kl_divergence"} == {
        each.mean_kl for each in shown
    }
