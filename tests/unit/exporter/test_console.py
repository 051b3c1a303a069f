"""What a pipe is shown while work goes on, and where the time went afterwards."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from exporter.console import print_timings, progress_on
from exporter.progress import about
from exporter.stopwatch import Timing


def on_a_pipe() -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, width=132), out


def test_a_pipe_gets_a_line_as_each_step_ends_and_none_before() -> None:
    console, out = on_a_pipe()
    with progress_on(console) as progress:
        progress("quantise", 0, 2)
        progress("quantise", 1, 2)
        assert out.getvalue() == ""
        progress("quantise", 2, 2)
        assert re.fullmatch(r" +\d+\.\d s  quantise\n", out.getvalue())
        progress("trace [1, n]", 1, 1)
    assert out.getvalue().splitlines()[1].endswith("s  trace [1, n]")


def test_work_that_comes_again_gets_a_line_again_and_is_told_once_each_time() -> None:
    console, out = on_a_pipe()
    with progress_on(console) as progress:
        for done in (1, 2, 2, 1, 2):
            progress("reference: layers", done, 2)
    assert len(out.getvalue().splitlines()) == 2


def test_work_asked_for_part_by_part_gets_a_line_for_each() -> None:
    console, out = on_a_pipe()
    with progress_on(console, frozenset({"layers"})) as progress:
        for done in (1, 2):
            progress("layers", done, 2)
            progress("matrices", done, 2)
    assert [line.partition(" s  ")[2] for line in out.getvalue().splitlines()] == [
        "layers, 1 of 2",
        "layers, 2 of 2",
        "matrices",
    ]


def test_work_that_goes_on_says_how_far_it_is_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("exporter.console.time.monotonic", lambda: now[0])
    console, out = on_a_pipe()
    with progress_on(console) as progress:
        for done in range(1, 101):
            now[0] += 1.0
            progress("model.tflite, float twin: 100 decode steps", done, 100)
    assert [line.split(None, 2)[::2] for line in out.getvalue().splitlines()] == [
        ["20.0", "model.tflite, float twin: 100 decode steps, 20 % done"],
        ["40.0", "model.tflite, float twin: 100 decode steps, 40 % done"],
        ["60.0", "model.tflite, float twin: 100 decode steps, 60 % done"],
        ["80.0", "model.tflite, float twin: 100 decode steps, 80 % done"],
        ["100.0", "model.tflite, float twin: 100 decode steps"],
    ]


def test_the_same_work_for_another_text_has_a_line_of_its_own() -> None:
    console, out = on_a_pipe()
    with progress_on(console) as progress:
        for text in ("evaluation text", "special tokens"):
            about(progress, text)("transformers, original checkpoint: layers", 2, 2)
    ends = [line.partition(" s  ")[2] for line in out.getvalue().splitlines()]
    assert ends == [
        "transformers, original checkpoint: layers (evaluation text)",
        "transformers, original checkpoint: layers (special tokens)",
    ]


def test_parts_of_a_step_stand_below_it() -> None:
    console, out = on_a_pipe()
    print_timings((Timing("validate", 12.3), Timing("validate / float twin", 4.56)), console)
    assert out.getvalue().splitlines()[1:] == ["    12.3 s  validate", "     4.6 s    float twin"]
