"""JUnit, Markdown and terminal: what they must say whatever their exact bytes (tests/golden has those)."""

from __future__ import annotations

import html
import io
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from exporter.validation.report import Gate, GreedyRun, ValidationReport
from exporter.validation.verdict import Skipped
from exporter.validation.weight_origins import WeightOrigin
from exporter.views.html_report import to_html
from exporter.views.json_report import to_json
from exporter.views.junit import to_junit
from exporter.views.markdown import quality_section, to_markdown
from exporter.views.release_files import write_views
from exporter.views.terminal import print_report
from tests.golden.reports import REPORTS, failing, inconclusive, passing


def terminal(report: ValidationReport, width: int = 120, colour: bool = False) -> str:
    out = io.StringIO()
    print_report(report, Console(file=out, width=width, force_terminal=colour, no_color=not colour))
    return out.getvalue()


@pytest.mark.parametrize("name", REPORTS)
def test_junit_has_one_case_per_gate_and_counts_that_add_up(name: str) -> None:
    report = REPORTS[name]()
    suite = ET.fromstring(to_junit(report).encode()).find("testsuite")
    assert suite is not None
    cases = suite.findall("testcase")
    not_executed = [run for run in report.paths if isinstance(run.result, Skipped)]
    assert len(cases) == len(report.gates) + len(not_executed) == int(suite.get("tests", ""))
    assert len(suite.findall("testcase/failure")) == int(suite.get("failures", ""))
    assert len(suite.findall("testcase/skipped")) == int(suite.get("skipped", ""))


def test_junit_counts_a_skip_as_a_skip_and_a_failure_as_a_failure() -> None:
    suite = ET.fromstring(to_junit(failing()).encode()).find("testsuite")
    assert suite is not None
    assert (suite.get("failures"), suite.get("skipped")) == ("8", "1")
    suite = ET.fromstring(to_junit(passing()).encode()).find("testsuite")
    assert suite is not None
    assert suite.get("skipped") == "1", "a path that was not executed"


def test_junit_survives_what_xml_cannot_hold() -> None:
    reason = "\x00\x0b\ud800 <&\"'"
    gate = Gate("kernels", None, "s", "t", Skipped(reason))
    parsed = ET.fromstring(to_junit(replace(passing(), gates=(gate,), paths=())).encode())
    skipped = parsed.find("testsuite/testcase/skipped")
    assert skipped is not None
    assert skipped.get("message") == "\ufffd\ufffd\ufffd <&\"'"


@pytest.mark.parametrize("view", [to_markdown, terminal, to_html])
def test_what_was_left_out_of_the_checkpoint_is_named_where_something_was(
    view: Callable[[ValidationReport], str],
) -> None:
    parts = ("vision tower, 417 M parameters", "vision projector, 3.0 M parameters")
    words = f"Left out of the checkpoint: {'; '.join(parts)}."
    assert words in " ".join(view(replace(passing(), left_out=parts)).split())
    assert "Left out" not in view(passing())


@pytest.mark.parametrize("view", [to_markdown, terminal, to_html])
def test_remarks_on_the_checkpoint_are_told(view: Callable[[ValidationReport], str]) -> None:
    remark = "The vocabulary has 520 entries, 8 of them the adapter's."
    assert remark in " ".join(html.unescape(view(replace(passing(), remarks=(remark,)))).split())


@pytest.mark.parametrize("view", [to_markdown, quality_section, terminal, to_html])
def test_paths_that_were_not_executed_are_told_before_anything_is_shown(
    view: Callable[[ValidationReport], str],
) -> None:
    text = " ".join(html.unescape(view(passing())).split())
    sentence = (
        "LiteRT on the GPU, fp16 (model.litertlm): not executed, because the adapter SwiftShader has no "
        "fp16; no phone's GPU took part."
    )
    assert sentence in text
    verdict = re.search(r"All \d+ gates hold", text)
    assert verdict is not None
    between = sorted((verdict.end(), text.index(sentence)))
    assert len(text[slice(*between)]) < 250, "beside the verdict"


@pytest.mark.parametrize("view", [to_markdown, quality_section, terminal, to_html])
def test_how_the_weights_came_to_be_is_told_by_kind(view: Callable[[ValidationReport], str]) -> None:
    origins = (
        WeightOrigin("taken over", "Q8", "int8-g32", 182, None),
        WeightOrigin("requantised", "Q6", "int8-channel", 1, "litert cannot carry int8-g16"),
    )
    text = " ".join(view(replace(passing(), weights=origins)).split())
    assert "182 matrices taken over unchanged from Q8, as int8-g32." in text
    assert "1 matrix requantised from Q6 to int8-channel (litert cannot carry int8-g16)." in text
    assert re.search(r"\d matri", view(replace(passing(), weights=()))) is None


def test_markdown_tables_keep_their_columns_whatever_the_text() -> None:
    lines = to_markdown(failing()).split("\n")
    columns, rows = 0, 0
    for before, line in pairwise(lines):
        if line.startswith("|") and not before.startswith("|"):
            columns = line.count("|")
        elif line.startswith("|"):
            rows += 1
            assert line.replace("\\|", "").count("|") == columns
    assert rows > len(failing().gates) + len(failing().paths) + len(failing().domains)


def test_markdown_text_cannot_close_its_fence_or_become_html() -> None:
    text = to_markdown(failing())
    outside = []
    fence = ""
    for line in text.split("\n"):
        if fence:
            fence = "" if line == fence else fence
        elif line.startswith("```"):
            fence = line.removesuffix("text")
        else:
            outside.append(line)
    assert fence == "", "a fence was left open"
    assert "<script>" in text
    assert "<script>" not in "\n".join(outside).replace("\\<", "")


def test_the_quality_section_says_verdict_figures_and_gaps() -> None:
    text = quality_section(passing())
    for words in ("**Passed.** All 22 gates hold.", "0.0042", "97.02 %", *passing().not_checked):
        assert words in text
    assert "LiteRT on the GPU, fp16 (model.litertlm)" in passing().not_checked[-1]
    assert "**Inconclusive.**" in quality_section(inconclusive())
    assert "#" not in text, "headings belong to the card"


def test_the_terminal_begins_with_the_verdict_and_takes_no_text_for_markup() -> None:
    text = terminal(failing())
    model, verdict, *others = text.splitlines()
    assert model.startswith('gemma <3> & "co"')
    assert verdict.startswith(
        "FAILED 8 of 19 gates do not hold. 1 could not be checked. By prediction it fits"
    )
    assert others[0].startswith("  · domain: hindi: mean KL is 0.0568 nats"), "what fails comes next"
    assert "[red]" in text
    assert "\x1b" not in text
    for words in ("≤ 0.01 nats", "≥ 96.00 %", "not a number", "unverified", "no runtime", "Not checked:"):
        assert words in text
    assert "PASSED All 22 gates hold." in terminal(passing())
    assert "INCONCLUSIVE 1 of 2 gates could not be checked, which is not a pass." in terminal(
        inconclusive()
    )


def test_what_was_not_checked_is_in_every_view() -> None:
    (sentence,) = inconclusive().not_checked
    for view in (to_markdown, quality_section, to_junit, to_json, terminal):
        assert sentence in view(inconclusive())
        assert "Not executed: LiteRT on the GPU, fp16" in " ".join(view(passing()).split())
    whole = replace(passing(), paths=passing().paths[:1], not_checked=())
    for view in (to_markdown, quality_section, terminal):
        assert "every execution path of these artifacts was executed" in view(whole)


def test_the_terminal_colours_verdicts_and_fits_a_narrow_window() -> None:
    assert "\x1b[32mPASSED" in terminal(passing(), colour=True)
    assert "\x1b[1;31m  · end to end" in terminal(failing(), colour=True)
    assert max(map(len, terminal(passing(), width=80).splitlines())) <= 80


def test_the_terminal_shows_caches_and_what_of_them_is_outside_windows() -> None:
    text = terminal(passing(), width=200)
    assert "75 MB" in text
    assert "47 MB" in text
    assert "14 MB" in text


def test_a_prompt_like_a_markup_tag_is_printed_as_it_is() -> None:
    run = replace(passing().runs[0], greedy=(GreedyRun("[bold]x[/bold]", "[/]", 1, 1),))
    assert "[bold]x[/bold][/]" in terminal(replace(passing(), runs=(run,)))


def test_nothing_heavy_is_imported_before_a_page_is_drawn() -> None:
    heavy = "{'torch', 'tokenizers', 'jinja2', 'matplotlib', 'safetensors', 'transformers'}"
    modules = "exporter.views.release_files, exporter.views.terminal"
    code = f"import sys, {modules}; print({heavy} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "set()\n"


def test_all_views_are_written_under_their_names(tmp_path: Path) -> None:
    written = write_views(failing(), tmp_path)
    assert [path.name for path in written] == [
        "report.json",
        "report.schema.json",
        "report.html",
        "junit.xml",
        "report.md",
    ]
    assert all(path.stat().st_size > 500 for path in written)
    first = {path.name: path.read_bytes() for path in written}
    write_views(failing(), tmp_path)
    assert first == {path.name: path.read_bytes() for path in written}, "views must be deterministic"


@pytest.mark.parametrize("view", [to_html, to_markdown, quality_section])
def test_facts_from_far_back_have_a_row_for_each_distance(view: Callable[[ValidationReport], str]) -> None:
    text = " ".join(re.sub("<[^>]+>", " ", view(passing())).split())
    for row in (
        "recipe int8 | 1,900 | 11 of 12 | 12 of 12 | 11 | 0",
        "artifact | 1,900 | 11 of 12 | 11 of 12",
    ):
        assert row.replace("| ", "") in text.replace("| ", "")
    assert "1,900" not in view(replace(passing(), copying=()))


def is_case(element: ET.Element, artifact: str, kind: str) -> bool:
    return element.get("classname") == artifact and element.get("name", "").startswith(f"{kind}: ")


def test_junit_has_a_class_per_artifact_and_times_that_add_up() -> None:
    suite = ET.fromstring(to_junit(passing())).find("testsuite")
    assert suite is not None
    cases = suite.findall("testcase")
    classes = {"checkpoint", "model_litertlm", "onnx/model_onnx", "coreml/model_mlpackage"}
    assert {case.get("classname") for case in cases} == classes
    of_twin = [float(each.get("time", "")) for each in cases if is_case(each, "model_litertlm", "lowering")]
    assert of_twin == [12.5]
    own = ("execution", "end to end", "copying")
    parts = [each for each in cases if any(is_case(each, "model_litertlm", kind) for kind in own)]
    assert sum(float(each.get("time", "")) for each in parts) == 27.5, "one step, shared by four gates"
    assert float(suite.get("time", "")) == 40.0


def test_junit_has_the_times_of_a_release_that_was_checked_again() -> None:
    within = tuple(replace(each, step=each.step.removeprefix("validate / ")) for each in passing().timings)
    assert to_junit(replace(passing(), timings=within)) == to_junit(passing())


def test_markdown_fits_a_job_page_however_much_was_compared() -> None:
    report = passing()
    many = replace(report, gates=report.gates * 20, comparisons=report.comparisons * 20)
    assert len(to_markdown(many).encode()) < 1 << 18, "a page takes 1 MiB, and a job may have several"
    first = to_markdown(failing()).splitlines()
    assert first[0].startswith("# ❌ Failed: ")
    assert first[6].startswith("- ❌ domain: hindi"), "then what fails"


def test_the_terminal_fits_a_screen() -> None:
    assert len(terminal(passing(), width=132).splitlines()) < 60


def test_junit_has_the_distances_beside_their_gate() -> None:
    (suite,) = ET.fromstring(to_junit(passing()))
    (case,) = [each for each in suite if is_case(each, "model_litertlm", "copying")]
    assert "1,900 tokens back: 11 of 12 as the original" in (case.findtext("system-out") or "")
    (suite,) = ET.fromstring(to_junit(failing()))
    (case,) = [each for each in suite if is_case(each, "model_litertlm", "copying")]
    assert "3 lost of 8 decided" in (case.findtext("failure") or "")
