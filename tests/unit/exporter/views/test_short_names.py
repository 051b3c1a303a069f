"""Short names: no two alike, and a legend that has all that was left out."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from exporter.validation.report import Gate, ValidationReport
from exporter.validation.verdict import Skipped
from exporter.views.detail_tables import comparison_table
from exporter.views.short_names import short_names
from tests.golden.parts import ONNX
from tests.golden.reports import passing

LITERT = "LiteRT 2.3.0, fp32; rows that enter layers with integer weights are rounded to int8"
TURNS = "prefill of 16 in chunks of 128, 7 decode steps, prefill of 9 in chunks of 128, 31 decode steps"


def compared(*fed: tuple[str, str, str]) -> ValidationReport:
    """One comparison for each artifact, subject and route."""
    (first, *_) = passing().comparisons
    found = (replace(first, artifact=each[0], subject=each[1], route=each[2]) for each in fed)
    return replace(passing(), comparisons=tuple(found), gates=(), copying=())


def test_two_routes_of_one_subject_are_two_rows_with_names_of_their_own() -> None:
    report = compared(("a.onnx", LITERT, "63 decode steps"), ("a.onnx", LITERT, TURNS))
    assert short_names(report).rows == (
        "lowering: LiteRT 2.3.0, fp32, decode",
        "lowering: LiteRT 2.3.0, fp32, in turns",
    )


def test_what_is_held_against_two_references_says_against_which() -> None:
    report = compared(("a", LITERT, "picture at the start"), ("a", LITERT, "picture at the start"))
    first, second = report.comparisons
    both = (
        replace(first, reference="transformers, quantised checkpoint"),
        replace(second, reference="transformers, original checkpoint"),
    )
    assert short_names(replace(report, comparisons=both)).rows == (
        "lowering: LiteRT 2.3.0, fp32, picture at the start, against the quantised checkpoint",
        "lowering: LiteRT 2.3.0, fp32, picture at the start, against the original checkpoint",
    )


@pytest.mark.parametrize("tower", ["image tower", "audio encoder"])
def test_what_would_shorten_alike_stays_whole_where_it_is_short(tower: str) -> None:
    whole = f"transformers, quantised checkpoint, {tower}"
    names = short_names(compared(("a", whole.removesuffix(f", {tower}"), "r"), ("a", whole, "r")))
    assert names.subjects[whole] == whole


def test_what_would_shorten_alike_is_numbered() -> None:
    other = TURNS.replace("128", "64")
    report = compared(("a", LITERT, TURNS), ("a", LITERT, other), ("a", f"{LITERT} (once)", TURNS))
    names = short_names(report)
    assert names.routes[other] == "in turns (2)"
    assert names.subjects[f"{LITERT} (once)"] == "LiteRT 2.3.0, fp32 (2)"


def test_files_of_one_name_keep_their_paths() -> None:
    names = short_names(
        compared(("x/model.onnx", "s", "r"), ("y/model.onnx", "s", "r"), ("z/m.onnx", "s", "r"))
    )
    assert set(names.artifacts.values()) >= {"x/model.onnx", "y/model.onnx", "m.onnx"}


def test_a_gate_is_named_as_its_comparison_is() -> None:
    report = compared((ONNX, LITERT, TURNS))
    gates = (
        Gate("lowering", ONNX, f"{LITERT}: {TURNS}", "mean KL", Skipped("x")),
        Gate("execution", ONNX, f"{LITERT}: hand-over", "mean KL", Skipped("x")),
    )
    names = short_names(replace(report, gates=gates))
    assert [names.gate(gate) for gate in gates] == [
        "lowering: model.onnx: LiteRT 2.3.0, fp32: in turns: mean KL",
        "execution: model.onnx: LiteRT 2.3.0, fp32: hand-over: mean KL",
    ]


def test_a_sentence_calls_subjects_by_their_short_names() -> None:
    names = short_names(compared(("a.onnx", LITERT, TURNS)))
    said = names.sentence(f"a.onnx, {LITERT}: 95 decode steps were run.")
    assert said == "a.onnx, LiteRT 2.3.0, fp32: 95 decode steps were run."


def test_what_is_short_already_keeps_its_name_and_sentences_tell_it_from_the_longer() -> None:
    plain = "LiteRT 2.3.0, fp32"
    names = short_names(compared(("a.tflite", LITERT, "r"), ("b.tflite", plain, "r")))
    said = names.sentence(f"a.tflite, {LITERT}: one. b.tflite, {plain}: other.")
    assert said == f"a.tflite, {plain} (2): one. b.tflite, {plain}: other."


words = st.text("ab,; \n", max_size=8)


@settings(max_examples=60)
@given(st.lists(st.tuples(words, words, words), max_size=12))
@example([(";", "", ";"), ("; ", "", ";")])
def test_no_two_rows_read_alike_and_the_legend_has_everything(fed: list[tuple[str, str, str]]) -> None:
    report = compared(*fed)
    rows = [row.cells[:2] for row in comparison_table(report, short_names(report)).rows]
    assert len(set(rows)) == len(rows) == len(fed)
    names = short_names(report)
    for of in (names.subjects, names.routes):
        assert len(set(of.values())) == len(of)
        assert {whole for whole, short in of.items() if whole != short} <= {
            each for _, each in names.legend()
        }
