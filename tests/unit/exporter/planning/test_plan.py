"""Plans refuse before any work what could not end well."""

from __future__ import annotations

from dataclasses import replace

import pytest

from exporter.checkpoints.interface import HeldCodes
from exporter.errors import PlanError
from exporter.formats.coreml import COREML
from exporter.formats.litert import LITERT
from exporter.models.components import text_alone
from exporter.models.text.families import read_spec
from exporter.models.text.spec import Role
from exporter.planning.plan import make_plan, plan_as_made
from exporter.planning.recipe import load_recipe, parse_recipe
from runtimes.formats import Format
from tests.jobs import a_variant
from tests.tiny import tiny_gemma3

SPEC = read_spec(tiny_gemma3(), "config.json")


def test_a_plan_knows_the_bytes_before_any_is_read() -> None:
    plan = make_plan(text_alone(SPEC), a_variant("int8", ("onnx",), 64, "desktop"), {})
    matrices = [weight.shape for weight in SPEC.weights() if weight.is_matrix]
    assert plan.weight_bytes == sum(rows * (inputs + 2) for rows, inputs in matrices)
    assert plan.scheme_counts() == {"int8-channel": len(matrices)}


@pytest.mark.parametrize(
    ("asked", "formats", "context", "multiples"),
    [
        (100, ("tflite",), 112, "16 (LiteRT)"),
        (112, ("tflite",), 112, None),
        (100, ("onnx",), 100, None),
        (100, ("coreml", "onnx"), 128, "32 (Core ML)"),
        (128, ("coreml",), 128, None),
        (100, ("onnx", "litertlm"), 112, "16 (LiteRT)"),
        (100, ("litertlm", "onnx", "coreml"), 128, "16 (LiteRT) and 32 (Core ML)"),
        (1, ("tflite",), 16, "16 (LiteRT)"),
        (1, ("coreml",), 32, "32 (Core ML)"),
    ],
)
def test_a_context_is_rounded_up_to_what_its_runtimes_want_and_the_plan_says_so(
    asked: int, formats: tuple[Format, ...], context: int, multiples: str | None
) -> None:
    plan = make_plan(text_alone(SPEC), a_variant("int8", formats, asked, "desktop"), {})
    assert plan.variant.context == context >= asked
    sentence = f"The context is {context} tokens, {asked} rounded up to a multiple of {multiples}."
    assert plan.remarks == (() if multiples is None else (sentence,))


@pytest.mark.parametrize(
    ("asked", "formats", "context", "met", "unmet"),
    [
        (497, ("tflite",), 497, None, "16 (LiteRT)"),
        (485, ("coreml",), 485, None, "32 (Core ML)"),
        (470, ("coreml", "tflite"), 480, "32 (Core ML) and 16 (LiteRT)", None),
        (485, ("coreml", "tflite"), 496, "16 (LiteRT)", "32 (Core ML)"),
        (497, ("onnx",), 497, None, None),
    ],
)
def test_a_context_is_not_rounded_past_the_models_end_and_the_plan_says_what_it_is_no_multiple_of(
    asked: int, formats: tuple[Format, ...], context: int, met: str | None, unmet: str | None
) -> None:
    odd = replace(SPEC, context_length=500)
    plan = make_plan(text_alone(odd), a_variant("int8", formats, asked, "desktop"), {})
    assert plan.variant.context == context
    said = " ".join(plan.remarks)
    assert ("rounded up" in said, "no multiple" in said) == (met is not None, unmet is not None)
    assert met is None or f"rounded up to a multiple of {met}." in said
    assert unmet is None or f"{context} tokens is no multiple of {unmet}," in said


@pytest.mark.parametrize("format", ["tflite", "litertlm", "coreml"])
def test_the_plan_of_a_release_that_is_there_keeps_its_context(format: Format) -> None:
    plan = plan_as_made(text_alone(SPEC), a_variant("int8", (format,), 100, "desktop"), {})
    assert plan.variant.context == plan.asked_context == 100
    assert not any("rounded" in each for each in plan.remarks)


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
    assert f"choose one of {', '.join(sorted(COREML.schemes))} for it" in str(caught.value)


def test_a_plan_names_its_runtimes_once_and_in_order() -> None:
    plan = make_plan(text_alone(SPEC), a_variant("int8", ("coreml", "litertlm", "tflite"), 64, "all"), {})
    assert plan.families == (COREML, LITERT)


def test_integers_in_blocks_are_given_by_row_where_a_gpu_takes_none() -> None:
    int4 = a_variant("int4", ("litertlm", "onnx"), 64, "phone")
    on_the_cpu = make_plan(text_alone(SPEC), int4, {})
    assert set(on_the_cpu.scheme_counts()) == {"int4-g32", "int8-channel"}
    assert on_the_cpu.refusals == {}
    plan = make_plan(text_alone(SPEC), replace(int4, accelerators={"litertlm": "GPU"}), {})
    assert set(plan.scheme_counts()) == {"int4-channel", "int8-channel"}
    assert plan.scheme_counts()["int4-channel"] == on_the_cpu.scheme_counts()["int4-g32"]
    why = "not int4-g32: integers in blocks end the process of LiteRT's GPU accelerator"
    assert set(plan.refusals.values()) == {why}
    assert len(plan.refusals) == plan.scheme_counts()["int4-channel"]
    of_onnx = replace(int4, accelerators={"onnx": "GPU"})
    assert make_plan(text_alone(SPEC), of_onnx, {}).schemes == on_the_cpu.schemes


def test_codes_in_blocks_are_not_taken_over_for_a_gpu_that_takes_none() -> None:
    variant = a_variant("as-stored", ("litertlm",), 64, "phone")
    linear = next(weight.name for weight in SPEC.weights() if weight.role is Role.LINEAR)
    held = {linear: HeldCodes(4, 32, 16, negative=False)}
    assert make_plan(text_alone(SPEC), variant, held).schemes[linear].name == "int4-g32"
    variant = replace(variant, accelerators={"litertlm": "GPU"})
    with pytest.raises(PlanError, match="litert cannot carry int4-g32"):
        make_plan(text_alone(SPEC), variant, held)


def test_an_accelerator_no_artifact_is_written_for_is_refused() -> None:
    npu = replace(a_variant("int8", ("litertlm",), 64, "phone"), accelerators={"litertlm": "NPU"})
    with pytest.raises(PlanError, match="means litertlm for its NPU, and what LiteRT is given here"):
        make_plan(text_alone(SPEC), npu, {})


def test_a_matrix_the_group_does_not_divide_is_refused() -> None:
    narrow = replace(SPEC, hidden_size=72)
    with pytest.raises(PlanError, match="72 inputs do not divide into int4-g32's 32"):
        make_plan(text_alone(narrow), a_variant("int4", ("onnx",), 64, "desktop"), {})
