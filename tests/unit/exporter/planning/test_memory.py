"""Memory plans: what grows with what, and the refusal. Whether they are true is measured in benchmarks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from exporter.byte_size import GIB, parse_bytes
from exporter.errors import PlanError
from exporter.models.components import text_alone
from exporter.models.published import published_spec
from exporter.planning.memory import (
    LIBRARIES,
    MOMENTS,
    CalibrationSize,
    StageMemory,
    export_memory,
    require_memory,
)
from exporter.planning.plan import make_plan
from exporter.planning.recipe import Recipe, load_recipe
from runtimes.formats import Format
from tests.jobs import a_variant

CALIBRATION = CalibrationSize(sequences=8, tokens=256, spilled=GIB // 2)
FORMATS: tuple[Format, ...] = ("litertlm", "onnx", "coreml")


def stages(
    model: str, recipe: str | Recipe = "int4", context: int = 2048, positions: int = 64
) -> dict[str, int]:
    spec = published_spec(model)
    plan = make_plan(text_alone(spec), a_variant(recipe, FORMATS, context, "all"), {})
    return {stage.stage: stage.bytes for stage in export_memory(spec, plan, positions, CALIBRATION)}


def test_every_stage_has_an_estimate() -> None:
    assert list(stages("gemma-2-2b")) == [
        "quantising",
        "lowering to litert",
        "lowering to onnx",
        "lowering to coreml",
        "the reference",
        "LiteRT's float twin",
        "running litert",
        "running onnx",
        "running coreml",
    ]


def test_quantising_without_calibration_and_lowering_do_not_grow_with_the_model() -> None:
    small, large = stages("gemma-2-2b", "float"), stages("gemma-4-12b", "float")
    for stage in ("quantising", "lowering to onnx", "lowering to litert", "lowering to coreml"):
        assert large[stage] < small[stage] + 0.1 * GIB
        assert large[stage] < 1.5 * GIB


def test_calibrating_takes_a_layer_and_the_moments_of_its_widest_input() -> None:
    """14,336 inputs of a 9B: 0.8 GiB for each copy of their moments."""
    assert 4 * GIB < stages("gemma-2-9b", "int4")["quantising"] < 10 * GIB
    assert stages("gemma-2-2b", "int4")["quantising"] < 6 * GIB


def test_recipes_without_error_feedback_take_no_moments_of_every_two_inputs() -> None:
    feedback, fast = (stages("gemma-2-9b", recipe)["quantising"] for recipe in ("int4", "int4-fast"))
    assert feedback - fast > MOMENTS * 4 * 14336**2


def test_the_reference_of_a_9b_stays_within_four_gib() -> None:
    assert stages("gemma-2-9b", positions=1262)["the reference"] < 4 * GIB


def test_running_grows_with_weights_and_context() -> None:
    assert stages("gemma-2-9b")["running onnx"] > 2 * stages("gemma-2-2b")["running onnx"]
    longer = stages("gemma-2-2b", context=8192)
    assert longer["running onnx"] > stages("gemma-2-2b")["running onnx"]


def test_the_fp32_matrices_of_a_small_models_onnx_twin_are_counted() -> None:
    found = stages("gemma-3-270m")
    matrices = 4 * 100_000_000
    assert found["ONNX's float twin"] > LIBRARIES + matrices
    assert found["ONNX's float twin"] < LIBRARIES + matrices + 0.5 * GIB
    assert "ONNX's float twin" not in stages("gemma-3-1b")  # 2.6 GiB, above the bound
    assert "ONNX's float twin" not in stages("gemma-3-270m", recipe="float")  # the artifact's own weights


def test_equalising_alone_runs_the_reference() -> None:
    alone = replace(load_recipe("int8"), calibration=None)
    found = stages("gemma-2-9b", recipe=alone, positions=CALIBRATION.tokens)
    assert found["quantising"] == found["the reference"]


def test_choosing_schemes_takes_a_layer_and_not_its_moments() -> None:
    found = stages("gemma-2-9b", "mixed:5.0")
    assert 3 * GIB < found["choosing schemes"] < found["quantising"]
    assert "choosing schemes" not in stages("gemma-2-9b", "int4")


def test_what_exceeds_the_limit_is_named() -> None:
    needs = (StageMemory("the reference", 2 * GIB), StageMemory("running onnx", 5 * GIB))
    require_memory(needs, 5 * GIB)
    with pytest.raises(PlanError, match=r"--max-ram 4 GiB.*running onnx takes an estimated 5\.0 GiB"):
        require_memory(needs, 4 * GIB)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("4GiB", "--max-ram 4 GiB: running onnx takes an estimated 5.0 GiB"),
        ("4GB", "--max-ram 4 GB: running onnx takes an estimated 5.4 GB"),
        ("512MiB", "--max-ram 512 MiB: running onnx takes an estimated 5.0 GiB"),
        ("4500MB", "--max-ram 4,500 MB: running onnx takes an estimated 5.4 GB"),
        ("4000000001", "--max-ram 4,000,000,001 bytes: running onnx takes an estimated 5.4 GB"),
    ],
)
def test_what_is_needed_is_said_in_the_kind_of_unit_that_was_asked_in(asked: str, said: str) -> None:
    with pytest.raises(PlanError) as caught:
        require_memory([StageMemory("running onnx", 5 * GIB)], parse_bytes(asked))
    assert str(caught.value).startswith(said)
