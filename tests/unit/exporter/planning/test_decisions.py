"""Which codes are taken over: the scheme asked for, or kept by the rule, and carried by every runtime."""

from __future__ import annotations

from dataclasses import replace

import pytest
from gguf.constants import GGMLQuantizationType

from exporter.checkpoints.gguf.blocks import HELD
from exporter.checkpoints.interface import HeldCodes
from exporter.errors import PlanError, RecipeError
from exporter.formats.coreml import COREML
from exporter.formats.litert import LITERT
from exporter.formats.onnx import ONNX
from exporter.models.components import text_alone
from exporter.models.text.families import read_spec
from exporter.planning.decisions import Decision, decide
from exporter.planning.plan import make_plan
from exporter.planning.recipe import MethodName, load_recipe, parse_recipe
from exporter.schemes import (
    INT4_G32,
    INT4_G128,
    INT8_CHANNEL,
    INT8_G16,
    INT8_G32,
    IntegerScheme,
    scheme_holding,
)
from tests.jobs import a_variant
from tests.tiny import tiny_gemma3

SPEC = read_spec(tiny_gemma3(), "config.json")
MATRICES = [weight.name for weight in SPEC.weights() if weight.is_matrix]
UP, DOWN = "model.layers.3.mlp.up_proj.weight", "model.layers.3.mlp.down_proj.weight"
EMBEDDING = "model.embed_tokens.weight"
Q4_0, Q8_0, Q6_K = (HELD[GGMLQuantizationType[kind]] for kind in ("Q4_0", "Q8_0", "Q6_K"))
POSITIVE = replace(Q4_0, negative=False)

INT4, AS_STORED = load_recipe("int4"), load_recipe("as-stored")


LINEARS = [name for name in MATRICES if "embed" not in name]


def test_codes_of_the_scheme_asked_for_are_taken_over_where_no_matrix_lacks_them() -> None:
    decisions = decide(SPEC, INT4, {**dict.fromkeys(LINEARS, Q4_0), EMBEDDING: Q4_0}, [ONNX])
    found: MethodName = "error-feedback"
    assert {decisions[name] for name in LINEARS} == {Decision(INT4_G32, True, None)}
    assert decisions[EMBEDDING] == Decision(INT8_CHANNEL, False, None, found)
    assert set(decisions) == set(MATRICES)
    some = decide(SPEC, INT4, {UP: Q4_0}, [ONNX])
    assert some[UP] == Decision(INT4_G32, False, None, found)


def test_a_checkpoint_of_few_bits_in_another_scheme_is_not_quantised_again() -> None:
    with pytest.raises(PlanError, match=r"are int4-g32 already; choose as-stored"):
        decide(SPEC, load_recipe("int4-zp"), dict.fromkeys(LINEARS, Q4_0), [ONNX])
    wide = decide(SPEC, INT4, dict.fromkeys(LINEARS, Q8_0), [ONNX])
    assert not any(decision.taken_over for decision in wide.values())


def test_a_rule_that_keeps_what_is_stored_falls_back_where_nothing_is() -> None:
    decisions = decide(SPEC, AS_STORED, {UP: Q4_0, DOWN: Q8_0, EMBEDDING: Q6_K}, [ONNX])
    assert decisions[UP] == Decision(INT4_G32, True, None)
    assert decisions[DOWN] == Decision(INT8_G32, True, None)
    assert decisions[EMBEDDING] == Decision(INT8_G16, True, None)
    rest = set(MATRICES) - {UP, DOWN, EMBEDDING}
    assert {decisions[name] for name in rest} == {Decision(INT8_CHANNEL, False, None)}


def test_one_runtime_that_cannot_carry_the_codes_decides_for_all() -> None:
    together = [ONNX, LITERT]
    asked = decide(SPEC, INT4, dict.fromkeys(LINEARS, Q4_0), together)[UP]
    assert asked == Decision(INT4_G32, False, "litert takes no scale below 0", "error-feedback")
    kept = decide(SPEC, AS_STORED, {UP: Q8_0, DOWN: POSITIVE}, together)
    assert kept[UP] == Decision(INT8_CHANNEL, False, "litert cannot carry int8-g32")
    assert kept[DOWN] == Decision(INT4_G32, True, None)


def test_every_runtime_that_stands_in_the_way_is_named() -> None:
    refusal = decide(SPEC, AS_STORED, {UP: Q6_K, DOWN: POSITIVE}, [LITERT, COREML])[UP].refusal
    assert refusal == "litert cannot carry int8-g16; coreml cannot carry int8-g16"


def test_core_ml_takes_the_blocks_whose_scales_are_fp16() -> None:
    decisions = decide(SPEC, AS_STORED, {UP: Q4_0, DOWN: Q8_0, EMBEDDING: Q6_K}, [COREML])
    assert [decisions[name].taken_over for name in (UP, DOWN, EMBEDDING)] == [True, True, False]


def test_equalising_leaves_nothing_to_take_over() -> None:
    held = dict.fromkeys(MATRICES, HeldCodes(8, None, 16, False))
    assert scheme_holding(held[UP]) == INT8_CHANNEL
    equalised = load_recipe("int8")
    assert equalised.equalization is not None
    assert not any(each.taken_over for each in decide(SPEC, equalised, held, [ONNX]).values())
    plain = replace(equalised, equalization=None)
    assert all(each.taken_over for each in decide(SPEC, plain, held, [ONNX]).values())


def test_keeping_what_is_stored_of_a_float_checkpoint_is_an_error() -> None:
    with pytest.raises(PlanError, match="holds none that a scheme has exactly; choose int8 or int4"):
        decide(SPEC, AS_STORED, {}, [ONNX])


def test_keeping_what_is_stored_where_no_runtime_can_is_an_error_that_says_why() -> None:
    held = dict.fromkeys(MATRICES, Q4_0)
    with pytest.raises(
        PlanError, match=r"none to keep: litert takes no scale below 0.* choose other formats"
    ):
        decide(SPEC, AS_STORED, held, [ONNX, LITERT])


def test_a_recipe_may_not_keep_and_equalise() -> None:
    text = (
        AS_STORED.text + '\n[equalization]\nweights = 0.5\nactivations = 0.5\nembedding = 1\nreason = "x"\n'
    )
    with pytest.raises(RecipeError, match="rewrites the weights that a rule with keep_stored keeps"):
        parse_recipe(text, "mine", "mine.toml")


def test_a_plan_counts_the_bytes_of_what_is_kept() -> None:
    held = {name: Q6_K if name == EMBEDDING else Q4_0 for name in MATRICES}
    plan = make_plan(text_alone(SPEC), a_variant(AS_STORED, ("onnx",)), held)
    assert plan.taken_over == set(MATRICES)
    assert plan.refusals == {}
    shapes = {weight.name: weight.shape for weight in SPEC.weights() if weight.is_matrix}
    blocks = sum(rows * inputs // 32 * 18 for name, (rows, inputs) in shapes.items() if name != EMBEDDING)
    rows, inputs = shapes[EMBEDDING]
    assert plan.weight_bytes == blocks + rows * (inputs + inputs // 16 * 4)


@pytest.mark.parametrize(
    ("held", "scheme"),
    [
        (HeldCodes(4, 32, 16, False), INT4_G32),
        (HeldCodes(8, 16, 16, False), INT8_G16),  # fp32 holds any fp16
        (HeldCodes(8, 16, 32, False), INT8_G16),
        (HeldCodes(4, 32, 32, False), None),  # scales that fp16 does not have
        (HeldCodes(4, 128, 16, False), INT4_G128),
        (HeldCodes(8, 128, 16, False), None),
    ],
)
def test_a_scheme_holds_codes_with_its_groups_and_scales_it_has_exactly(
    held: HeldCodes, scheme: IntegerScheme | None
) -> None:
    assert scheme_holding(held) == scheme
