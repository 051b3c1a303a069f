"""Running programs: rounding and its facts, the inputs that are taken, weights within a bound."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coremltools.converters.mil import Builder as mb
from coremltools.converters.mil.mil import types

from runtimes.errors import ArtifactError, SessionError
from runtimes.mil.execution import Execution
from tests.parity.mil_packages import CHUNK, CONTEXT, VOCAB, language_model_logits, save_program


@pytest.fixture(scope="module")
def arithmetic_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """x fp16 [3] → product = x·300, shifted = product + 1, difference = x - x, wide = x·300 in fp32."""

    def build(x: Any) -> list[Any]:
        product = mb.mul(x=x, y=np.float16(300), name="product")
        return [
            product,
            mb.add(x=product, y=np.float16(1), name="shifted"),
            mb.sub(x=x, y=x, name="difference"),
            mb.mul(x=mb.cast(x=x, dtype="fp32"), y=np.float32(300), name="wide"),
        ]

    path = tmp_path_factory.mktemp("arithmetic") / "arithmetic.mlpackage"
    return save_program(path, {"x": mb.placeholder(shape=(3,), dtype=types.fp16)}, build)


def test_fp16_results_beyond_its_range_become_infinite_and_are_counted(
    arithmetic_package: Path,
) -> None:
    execution = Execution.open(arithmetic_package, "fp16")
    got = execution.run({"x": np.array([300, 100, -300], np.float32)})
    assert got["product"].tolist() == [np.inf, 30000, -np.inf]
    assert got["wide"].tolist() == [90000, 30000, -90000]  # declared fp32: kept
    assert execution.non_finite == {"mul → product": 2}  # "shifted" only carries the infinities


def test_an_infinity_passed_in_is_carried_not_counted_but_a_nan_is(
    arithmetic_package: Path,
) -> None:
    execution = Execution.open(arithmetic_package, "fp16")
    execution.run({"x": np.array([-np.inf, 1, 2], np.float32)})
    assert execution.non_finite == {"sub → difference": 1}


def test_counts_add_up_over_runs_and_reset(arithmetic_package: Path) -> None:
    execution = Execution.open(arithmetic_package, "fp16")
    for _ in range(3):
        execution.run({"x": np.array([300, 1, 1], np.float32)})
    assert execution.non_finite == {"mul → product": 3}
    execution.reset()
    assert execution.non_finite == {}


def test_fp16_results_are_rounded_to_nearest_even(arithmetic_package: Path) -> None:
    x = np.array([3.0, 7.0, 27.333], np.float32)
    got = Execution.open(arithmetic_package, "fp16").run({"x": x})
    exact = x.astype(np.float16).astype(np.float64) * 300  # 900, 2100, 8200.9…: fp16 steps by 8
    np.testing.assert_array_equal(got["product"], exact.astype(np.float16).astype(np.float32))
    assert got["product"][2] % 8 == 0


def test_fp32_arithmetic_rounds_nothing_and_counts_nothing(arithmetic_package: Path) -> None:
    execution = Execution.open(arithmetic_package, "fp32")
    got = execution.run({"x": np.array([300, 0.1, -300], np.float32)})
    expected = np.array([300, 0.1, -300], np.float32) * np.float32(300)
    np.testing.assert_array_equal(got["product"], expected)
    assert execution.non_finite == {}


@pytest.mark.parametrize("cache", [0, 100, 1 << 20])
def test_the_answer_does_not_depend_on_how_many_weights_are_kept(
    language_model: Path, cache: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtimes.mil.constants.WEIGHT_ELEMENTS", 1)
    execution = Execution.open(language_model, "fp32", weight_cache_bytes=cache)
    logits = execution.run(_inputs([4, 1, 9], 3))["logits"][0]
    np.testing.assert_allclose(logits, language_model_logits([4, 1, 9]), rtol=1e-5, atol=1e-5)


def test_the_program_takes_what_swift_transformers_passes(language_model: Path) -> None:
    """One mask row of tokens + 1 columns: the position counted too many is the graph's affair."""
    execution = Execution.open(language_model, "fp32")
    with pytest.raises(SessionError, match=r"causalMask is float16\[1, 1, \?, \?\]"):
        execution.run({"inputIds": np.array([[1, 2]], np.int32), "causalMask": np.zeros((1, 3))})
    mask = np.zeros((1, 1, 1, 3), np.float16)
    logits = execution.run({"inputIds": np.array([[1, 2]], np.int32), "causalMask": mask})["logits"]
    assert logits.shape == (1, 2, VOCAB)


@pytest.mark.parametrize(
    ("inputs", "what"),
    [
        ({"inputIds": np.ones((1, 1), np.int32)}, "takes the inputs"),
        ({"ids": np.ones((1, 1)), "causalMask": np.ones((1, 1, 1, 1))}, "takes the inputs"),
        ({"inputIds": np.ones((1, 1)), "causalMask": np.ones((1, 1, 1, 1))}, "inputIds is int32"),
        (
            {
                "inputIds": np.ones((1, CHUNK + 1), np.int32),
                "causalMask": np.ones((1, 1, CHUNK + 1, CHUNK + 1)),
            },
            r"inputIds is int32\[1, \?\] within \(\(1, 1\), \(1, 5\)\), got shape \[1, 6\]",
        ),
        (
            {
                "inputIds": np.ones((1, 1), np.int32),
                "causalMask": np.ones((1, 1, 1, CONTEXT + 1)),
            },
            r"got shape \[1, 1, 1, 13\]",
        ),
    ],
)
def test_inputs_the_package_does_not_take_are_refused(
    language_model: Path, inputs: dict[str, Any], what: str
) -> None:
    with pytest.raises(SessionError, match=what):
        Execution.open(language_model, "fp32").run(inputs)


def test_a_token_outside_the_table_is_refused(language_model: Path) -> None:
    with pytest.raises(ArtifactError, match=r"gather .*: index out of range for 11 rows"):
        Execution.open(language_model, "fp32").run(_inputs([VOCAB], 1))


def _inputs(tokens: list[int], end: int) -> dict[str, Any]:
    return {
        "inputIds": np.array([tokens], np.int32),
        "causalMask": np.zeros((1, 1, len(tokens), end), np.float32),
    }
