"""Plans refuse before any work what could not end well."""

from __future__ import annotations

from dataclasses import replace

import pytest

from exporter.errors import PlanError
from exporter.models.text.families import read_spec
from exporter.planning.decisions import Carrier
from exporter.planning.plan import make_plan
from exporter.planning.recipe import load_recipe
from exporter.schemes import SCHEMES
from tests.tiny import tiny_gemma3

SPEC = read_spec(tiny_gemma3(), "config.json")
EVERYTHING = dict.fromkeys(("litert", "onnx", "coreml"), Carrier(frozenset(SCHEMES), True))


def test_a_plan_knows_the_bytes_before_any_is_read() -> None:
    plan = make_plan(SPEC, load_recipe("int8"), "desktop", ("onnx",), 64, EVERYTHING, {})
    matrices = [weight.shape for weight in SPEC.weights() if weight.is_matrix]
    assert plan.weight_bytes == sum(rows * (inputs + 2) for rows, inputs in matrices)
    assert plan.scheme_counts() == {"int8-channel": len(matrices)}


@pytest.mark.parametrize("context", [0, 513])
def test_a_context_beyond_the_models_is_refused_with_the_models_own(context: int) -> None:
    with pytest.raises(PlanError, match="choose a context from 1 to 512"):
        make_plan(SPEC, load_recipe("int8"), "desktop", ("onnx",), context, EVERYTHING, {})


def test_a_scheme_a_target_cannot_carry_is_refused_by_name() -> None:
    carriers = {**EVERYTHING, "coreml": Carrier(frozenset({"fp16"}), True)}
    with pytest.raises(PlanError, match="scheme int8-channel, which coreml cannot carry"):
        make_plan(SPEC, load_recipe("int8"), "ios", ("coreml",), 64, carriers, {})


def test_a_matrix_the_group_does_not_divide_is_refused() -> None:
    narrow = replace(SPEC, hidden_size=72)
    with pytest.raises(PlanError, match="72 inputs do not divide into int4-g32's 32"):
        make_plan(narrow, load_recipe("int4"), "desktop", ("onnx",), 64, EVERYTHING, {})
