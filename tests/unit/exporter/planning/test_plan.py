"""Plans refuse before any work what could not end well."""

from __future__ import annotations

from dataclasses import replace

import pytest

from exporter.errors import PlanError
from exporter.formats.coreml import COREML
from exporter.formats.litert import LITERT
from exporter.models.components import text_alone
from exporter.models.text.families import read_spec
from exporter.planning.plan import make_plan
from exporter.planning.recipe import load_recipe, parse_recipe
from tests.jobs import a_variant
from tests.tiny import tiny_gemma3

SPEC = read_spec(tiny_gemma3(), "config.json")


def test_a_plan_knows_the_bytes_before_any_is_read() -> None:
    plan = make_plan(text_alone(SPEC), a_variant("int8", ("onnx",), 64, "desktop"), {})
    matrices = [weight.shape for weight in SPEC.weights() if weight.is_matrix]
    assert plan.weight_bytes == sum(rows * (inputs + 2) for rows, inputs in matrices)
    assert plan.scheme_counts() == {"int8-channel": len(matrices)}


@pytest.mark.parametrize("context", [0, 513])
def test_a_context_beyond_the_models_is_refused_with_the_models_own(context: int) -> None:
    with pytest.raises(PlanError, match="choose a context from 1 to 512"):
        make_plan(text_alone(SPEC), a_variant("int8", ("onnx",), context, "desktop"), {})


def test_a_scheme_a_target_cannot_carry_is_refused_by_name_with_the_reason() -> None:
    single = parse_recipe(load_recipe("float").text.replace('"fp16"', '"fp32"'), "single", "single.toml")
    make_plan(text_alone(SPEC), a_variant(single, ("onnx", "tflite"), 64, "desktop"), {})
    with pytest.raises(PlanError, match="scheme fp32, which coreml cannot carry") as caught:
        make_plan(text_alone(SPEC), a_variant(single, ("onnx", "coreml"), 64, "ios"), {})
    assert COREML.other_schemes in str(caught.value)
    assert "choose one of fp16, int4-channel, int4-g32, int8-channel, int8-g32 for it" in str(caught.value)


def test_a_plan_names_its_runtimes_once_and_in_order() -> None:
    plan = make_plan(text_alone(SPEC), a_variant("int8", ("coreml", "litertlm", "tflite"), 64, "all"), {})
    assert plan.families == (COREML, LITERT)


def test_a_matrix_the_group_does_not_divide_is_refused() -> None:
    narrow = replace(SPEC, hidden_size=72)
    with pytest.raises(PlanError, match="72 inputs do not divide into int4-g32's 32"):
        make_plan(text_alone(narrow), a_variant("int4", ("onnx",), 64, "desktop"), {})
