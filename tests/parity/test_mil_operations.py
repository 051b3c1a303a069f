"""Every MIL operation of the evaluator against coremltools' constant folding, or torch.

The whole way is taken: all calls of `mil_cases` are built into programs, written as packages, read
back by the evaluator's own reader and executed. fp32 answers agree to fp32 rounding; fp16 ones to the
last bit of fp16, against the fp32 answer of the same fp16 inputs. Not asserted: what a device computes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coremltools.converters.mil import Builder as mb
from coremltools.converters.mil.mil import types
from numpy.typing import NDArray

from runtimes.mil.execution import Execution
from runtimes.mil.operations.table import OPERATIONS
from tests.parity.mil_cases import CASES, Case, torch_answer
from tests.parity.mil_packages import save_program

Array = np.ndarray[Any, np.dtype[Any]]
Answers = list[tuple[list[Array], list[Array]]]  # per case: (expected, got), one of each per result

OUTPUT_TYPES = (types.fp16, types.fp32, types.int32)  # what a package may return
FP32_STRAYS = 2e-6  # between two right answers in fp32, and as a share of one
NOT_ROUNDED = ("cast", "range_1d", "reduce_argmax")  # their result type is not that of a float input


def _has_floats(case: Case) -> bool:
    values = [
        item
        for value in case.arguments.values()
        for item in (value if isinstance(value, tuple) else (value,))
    ]
    return any(isinstance(v, np.ndarray | np.generic) and v.dtype == np.float32 for v in values)


FLOAT_CASES = tuple(c for c in CASES if _has_floats(c) and c.operation not in NOT_ROUNDED)


def _call(case: Case, name: str) -> list[Any]:
    """The case as operations of the program being built; its results."""
    made = getattr(mb, case.operation)(**case.arguments, name=name)
    return list(made) if isinstance(made, tuple | list) else [made]


def _expected(case: Case, made: list[Any]) -> list[Array]:
    if case.torch is not None:
        return [torch_answer(case)]
    return [np.asarray(var.val) for var in made]


def _returned(made: list[Any]) -> list[Any]:
    return [v if v.dtype in OUTPUT_TYPES else mb.cast(x=v, dtype="int32") for v in made]


def _run(build: Callable[[], list[Any]], directory: Path, arithmetic: Any) -> list[Array]:
    """Build a program of constants, save it as a package, execute that."""

    def outputs(unused: Any) -> list[Any]:
        return [mb.identity(x=unused, name="kept"), *build()]

    inputs = {"unused": mb.placeholder(shape=(1,), dtype=types.fp32)}
    package = save_program(directory / "cases.mlpackage", inputs, outputs)
    execution = Execution.open(package, arithmetic)
    return list(execution.run({"unused": np.zeros(1, np.float32)}).values())[1:]


def _collect(results: list[list[Array]], got: list[Array]) -> Answers:
    left = iter(got)
    return [(expected, [next(left) for _ in expected]) for expected in results]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    expected: list[list[Array]] = []

    def build() -> list[Any]:
        outputs: list[Any] = []
        for i, case in enumerate(CASES):
            made = _call(case, f"case{i}")
            expected.append(_expected(case, made))
            outputs += _returned(made)
        return outputs

    return _collect(expected, _run(build, tmp_path_factory.mktemp("fp32"), "fp32"))


@pytest.fixture(scope="module")
def half_answers(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    expected: list[list[Array]] = []

    def build() -> list[Any]:
        outputs: list[Any] = []
        for i, case in enumerate(FLOAT_CASES):
            half = replace(case, arguments={k: _half(v) for k, v in case.arguments.items()})
            wide = replace(case, arguments={k: _wide(v) for k, v in half.arguments.items()})
            expected.append(_expected(wide, _call(wide, f"wide{i}")))
            outputs += _returned(_call(half, f"half{i}"))
        return outputs

    return _collect(expected, _run(build, tmp_path_factory.mktemp("fp16"), "fp16"))


def _half(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_half(item) for item in value)
    if isinstance(value, np.ndarray | np.generic) and value.dtype == np.float32:
        return value.astype(np.float16)
    return value


def _wide(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_wide(item) for item in value)
    if isinstance(value, np.ndarray | np.generic) and value.dtype == np.float16:
        return value.astype(np.float32)
    return value


def test_every_operation_of_the_table_has_a_case() -> None:
    assert {case.operation for case in CASES} == set(OPERATIONS)


@pytest.mark.parametrize("index", range(len(CASES)), ids=[case.operation for case in CASES])
def test_an_operation_gives_the_independent_answer(answers: Answers, index: int) -> None:
    for expected, got in zip(*answers[index], strict=True):
        assert got.shape == expected.shape
        if np.issubdtype(expected.dtype, np.floating):
            np.testing.assert_allclose(got, expected, rtol=FP32_STRAYS, atol=FP32_STRAYS)
        else:
            np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("index", range(len(FLOAT_CASES)), ids=[c.operation for c in FLOAT_CASES])
def test_an_operation_rounds_its_fp16_result_once(half_answers: Answers, index: int) -> None:
    for expected, got in zip(*half_answers[index], strict=True):
        if expected.dtype == np.bool_:
            np.testing.assert_array_equal(got, expected)
            continue
        rounded = expected.astype(np.float16)
        assert np.array_equal(got, got.astype(np.float16))
        off = np.abs(got - rounded.astype(np.float32))
        assert (off <= np.spacing(np.abs(rounded)).astype(np.float32) + FP32_STRAYS).all()
        assert (off[_settled(expected)] == 0).all()


def test_few_results_are_so_near_a_tie_that_they_are_not_held_to_the_last_bit(
    half_answers: Answers,
) -> None:
    results = [each for expected, _ in half_answers for each in expected if each.dtype != np.bool_]
    assert np.concatenate([_settled(each).ravel() for each in results]).mean() > 0.9


def _settled(expected: Array) -> NDArray[np.bool_]:
    """Which round to one number of fp16 wherever fp32 puts them: its answers differ in their last bits, by
    processor too, which near a tie, or where terms cancel, fp16 shows."""
    stray = FP32_STRAYS * (1 + np.abs(expected))
    settled: NDArray[np.bool_] = np.equal(
        (expected - stray).astype(np.float16), (expected + stray).astype(np.float16)
    )
    return settled
