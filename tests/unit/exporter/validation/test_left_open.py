"""Skipped gates and paths are named where a report says what was not checked."""

from __future__ import annotations

from exporter.validation.left_open import left_open
from exporter.validation.report import Gate, PathRun
from exporter.validation.verdict import Skipped, at_most
from tests.golden.parts import on_llvmpipe

HELD = Gate("lowering", "a", "float twin", "mean KL", at_most(0.0, 1.0, "nats"))
SKIPPED = Gate("kernels", "a", "artifact", "mean KL", Skipped("nothing to compare with"))


def a_path(artifact: str, title: str, executed: bool = False) -> PathRun:
    result = on_llvmpipe(()) if executed else Skipped("--no-accelerators was given")
    return PathRun(artifact, "toy-gpu", title, "no phone took part", result)


def test_nothing_is_left_open_where_gates_were_judged_and_paths_executed() -> None:
    assert left_open((HELD,), (a_path("a", "GPU, fp32", executed=True),)) == ()


def test_skipped_gates_are_counted() -> None:
    assert left_open((HELD, SKIPPED), ()) == (
        "One gate could not be checked: the reasons stand with the gates.",
    )
    assert left_open((SKIPPED, SKIPPED), ())[0].startswith("2 gates could not be checked")


def test_paths_that_were_not_executed_are_named_once_with_their_artifacts() -> None:
    paths = (
        a_path("a", "GPU, fp32"),
        a_path("a", "GPU, fp16", executed=True),
        a_path("b", "GPU, fp32"),
        a_path("b", "Node"),
    )
    assert left_open((HELD,), paths) == (
        "Not executed: GPU, fp32 (a, b); Node (b). The reasons stand with the execution paths.",
    )
