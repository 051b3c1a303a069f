"""Plans of models that see: schemes of the tower, its bytes, and soft tokens of an image."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from exporter.checkpoints.interface import HeldCodes
from exporter.errors import PlanError, RecipeError
from exporter.models.components import Components, TextComponent, VisionComponent
from exporter.models.published import published_spec, published_vision
from exporter.models.text.spec import Role
from exporter.models.vision.spec import VisionSpec
from exporter.planning.candidates import AskedFor, soft_tokens_of
from exporter.planning.device_profile import check_profile
from exporter.planning.memory import CALIBRATION, export_memory
from exporter.planning.on_device import WrittenSizes, artifact_on_device
from exporter.planning.plan import Plan, make_plan
from exporter.planning.planned_model import PlannedModel
from exporter.planning.planner import Planner
from exporter.planning.profiles import load_device, load_target
from exporter.planning.recipe import Recipe, load_recipe, parse_recipe
from exporter.planning.variants import Variant
from runtimes.formats import Format
from runtimes.records import RecordError

PUBLISHED = ("gemma-3-4b", "gemma-4-e2b", "gemma-4-12b", "gemma-4-31b")
OWN = """
[[vision]]
match = ["*.fc1.weight"]
scheme = "fp16"
reason = "A test's."
"""


def tower(model: str) -> VisionSpec:
    spec = published_vision(model)
    assert spec is not None
    return spec


def components(model: str) -> Components:
    return Components(TextComponent(published_spec(model)), VisionComponent(tower(model)))


def planned(
    model: str,
    recipe: Recipe | str = "int8",
    soft_tokens: int | None = None,
    formats: tuple[Format, ...] = ("litertlm", "onnx", "coreml"),
    held: dict[str, HeldCodes] | None = None,
) -> Plan:
    found = load_recipe(recipe) if isinstance(recipe, str) else recipe
    variant = Variant("test", found, 2048, formats, (), soft_tokens=soft_tokens)
    return make_plan(components(model), variant, held or {})


def text_of(name: str, **changed: Any) -> Recipe:
    return replace(load_recipe(name), **changed)


@pytest.mark.parametrize("model", PUBLISHED)
@pytest.mark.parametrize("recipe", ["int8", "int4", "int4-zp", "as-stored"])
def test_linears_of_a_tower_have_8_bits_and_what_is_outermost_is_half_precision(
    model: str, recipe: str
) -> None:
    held: dict[str, HeldCodes] = {}
    formats: tuple[Format, ...] = ("onnx",)
    if recipe == "as-stored":
        held = {"model.layers.0.mlp.up_proj.weight": HeldCodes(8, None, 16, negative=False)}
    plan = planned(model, recipe, formats=formats, held=held)
    vision = plan.components["vision"]
    for weight in tower(model).weights():
        if weight.is_matrix:
            wanted = "int8-channel" if weight.role is Role.TOWER_LINEAR else "fp16"
            assert vision.schemes[weight.name].name == wanted
            assert vision.methods.get(weight.name, "nearest") == "nearest"


def test_a_recipe_of_floats_gives_a_float_tower() -> None:
    schemes = planned("gemma-3-4b", "float").components["vision"].schemes
    assert {scheme.name for scheme in schemes.values()} == {"fp16"}


@pytest.mark.parametrize("model", PUBLISHED)
def test_the_text_of_a_model_that_sees_is_planned_as_without_its_tower(model: str) -> None:
    seeing = planned(model)
    variant = replace(seeing.variant, soft_tokens=None)
    alone = make_plan(Components(components(model).text), variant, {})
    assert seeing.components["text"] == alone.components["text"]
    assert seeing.weight_bytes > alone.weight_bytes


def test_a_recipes_own_vision_rules_come_first() -> None:
    recipe = parse_recipe(load_recipe("int8").text + OWN, "own", "own.toml")
    schemes = planned("gemma-3-4b", recipe).components["vision"].schemes
    assert {each.name for name, each in schemes.items() if ".fc1." in name} == {"fp16"}
    assert {each.name for name, each in schemes.items() if ".fc2." in name} == {"int8-channel"}
    with pytest.raises(RecipeError, match=r"vision rule for \*\.fc1\.weight matches no weight of gemma4"):
        planned("gemma-4-e2b", recipe)


@pytest.mark.parametrize(
    ("rule", "what"),
    [
        (OWN.replace("fp16", "int8-channel") + 'method = "error-feedback"', "none reaches a tower"),
        (OWN + "share = 1", "unknown key"),
        (OWN.replace("fp16", "int3"), "expected one of"),
    ],
)
def test_a_vision_rule_that_is_none_is_refused(rule: str, what: str) -> None:
    with pytest.raises(RecipeError, match=what) as caught:
        parse_recipe(load_recipe("int8").text + rule, "own", "own.toml")
    assert "$.vision[0]" in caught.value.where


def test_soft_tokens_are_those_a_tower_can_make() -> None:
    assert planned("gemma-4-e2b", soft_tokens=560).variant.soft_tokens == 560
    with pytest.raises(PlanError, match="at most one of 70, 140, 280, 560, 1120"):
        planned("gemma-4-12b", soft_tokens=100)
    with pytest.raises(PlanError, match="makes 256 of every image"):
        planned("gemma-3-4b", soft_tokens=280)


def test_a_context_that_one_image_fills_is_refused() -> None:
    plan = planned("gemma-3-4b", soft_tokens=256)
    small = replace(plan.variant, context=280)
    with pytest.raises(PlanError, match="no room for words beside an image") as caught:
        make_plan(components("gemma-3-4b"), small, {})
    assert "--components text" in caught.value.then
    assert make_plan(components("gemma-3-4b"), replace(small, soft_tokens=None), {}).towers == ()
    for formats in ((), ("tflite",)):  # a quantised checkpoint; what takes tokens alone
        assert make_plan(components("gemma-3-4b"), replace(small, formats=formats), {})


def test_what_is_refused_is_the_context_somebody_typed() -> None:
    typed = replace(planned("gemma-3-4b").variant, context=100, soft_tokens=256)
    with pytest.raises(PlanError, match=r"has, rounded up to 128, no room") as caught:
        make_plan(components("gemma-3-4b"), typed, {})
    assert caught.value.where == "--context 100"


def test_devices_and_whoever_asks_decide_on_soft_tokens() -> None:
    one = load_device("pixel-9")
    modest = replace(one, profiles=(replace(one.profiles[0], image_tokens=70),))
    assert soft_tokens_of(one, AskedFor(), 280) == 280
    assert soft_tokens_of(modest, AskedFor(), 280) == 70
    assert soft_tokens_of(modest, AskedFor(image_tokens=140), 280) == 140
    assert soft_tokens_of(modest, AskedFor(), None) is None, "text alone"
    model = PlannedModel("seeing", components("gemma-4-e2b"), {}, 280)
    plans = Planner(model).plan(load_target("desktop"), AskedFor(image_tokens=140)).plans
    assert {plan.variant.soft_tokens for plan in plans} == {140}


def test_soft_tokens_of_a_profile_are_those_a_processor_takes() -> None:
    (profile,) = load_device("pixel-9").profiles
    check_profile(replace(profile, image_tokens=1120))
    with pytest.raises(RecordError, match=r"\$\.image_tokens: expected one of 70, 140"):
        check_profile(replace(profile, image_tokens=100))


def test_a_plan_counts_the_tower_and_an_images_activations() -> None:
    small, large = (planned("gemma-4-e2b", soft_tokens=count).image_tower for count in (70, 1120))
    assert small is not None
    assert large is not None
    matrices = planned("gemma-4-e2b").components["vision"].weight_bytes
    assert matrices < small.stored < matrices * 1.01
    assert small.stored == large.stored
    assert large.activations > 16 * small.activations, "scores grow with the square, up to a block"
    assert planned("gemma-4-e2b").image_tower is None


def test_caches_have_room_for_the_call_an_image_lies_in_where_its_tokens_see_each_other() -> None:
    plan, spec = planned("gemma-3-4b", soft_tokens=256), published_spec("gemma-3-4b")
    assert [plan.longest_call(each, 128) for each in plan.variant.formats] == [512, 128, 128]
    (said,) = (each for each in plan.remarks if "at a time" in each)
    assert said.startswith("litertlm: a prompt is read 512 tokens at a time")
    assert f"behind position {plan.variant.context - 512:,}" in said
    assert planned("gemma-4-e2b", soft_tokens=280).longest_call("litertlm", 128) == 128
    assert planned("gemma-3-4b").longest_call("litertlm", 128) == 128, "text alone"
    (profile,) = load_device("pixel-9").profiles
    alone = replace(plan, components={"text": plan.components["text"]})
    seen, text = (
        artifact_on_device(spec, each, profile, "litertlm", WrittenSizes(0, {})) for each in (plan, alone)
    )
    sliding = [layer for layer in spec.cache_layers if layer.window is not None]
    longer = sum(2 * layer.kv_heads * layer.head_dim * (512 - 128) * 4 for layer in sliding)
    assert seen.cache_bytes - text.cache_bytes == longer
    assert seen.memory["KV cache"] - text.memory["KV cache"] == longer
    assert text.memory["activations"] < seen.memory["activations"] < 4 * text.memory["activations"]


def test_a_browsers_memory_counts_the_tower() -> None:
    seeing = planned("gemma-3-4b", soft_tokens=256)
    alone = replace(seeing, components={"text": seeing.components["text"]})
    spec, (profile,) = published_spec("gemma-3-4b"), load_target("web").profiles
    with_tower, text = (
        artifact_on_device(spec, each, profile, "onnx-web", WrittenSizes(0, {})).peak_bytes
        for each in (seeing, alone)
    )
    assert seeing.image_tower is not None
    assert with_tower - text >= seeing.image_tower.stored + seeing.image_tower.activations


def test_memory_of_a_run_counts_the_tower() -> None:
    seeing = planned("gemma-3-4b", soft_tokens=256)
    alone = make_plan(
        Components(components("gemma-3-4b").text), replace(seeing.variant, soft_tokens=None), {}
    )
    spec, peak = published_spec("gemma-3-4b"), {}
    for name, plan in (("seeing", seeing), ("alone", alone)):
        stages = export_memory(spec, plan, 512, CALIBRATION)
        peak[name] = next(each.bytes for each in stages if each.stage == "running onnx")
    tower_bytes = sum(math.prod(each.shape) for each in tower("gemma-3-4b").weights() if each.is_matrix)
    assert peak["seeing"] - peak["alone"] > tower_bytes
