"""From losses and a budget to a recipe: its text, its bytes, what is said of both."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from exporter.byte_size import megabytes
from exporter.errors import RecipeError
from exporter.formats.table import FAMILIES
from exporter.models.components import VisionComponent
from exporter.models.text.families import read_spec
from exporter.models.text.spec import Role, WeightSpec
from exporter.planning.mixed_recipe import (
    Losses,
    base,
    candidates,
    mixed_recipe,
    require_possible,
    unmeasured,
    within_release,
)
from exporter.planning.recipe import Recipe, load_recipe
from exporter.planning.tower_rules import tower_rules
from exporter.schemes import INT4_CHANNEL, INT4_G32, INT4_G32_ZP, INT8_CHANNEL, SCHEMES
from tests.tiny import tiny_gemma3
from tests.tiny_towers import tiny_siglip

SPEC = read_spec(tiny_gemma3(), "config.json")
WEIGHTS = SPEC.weights()
MATRICES = {each.name: each.shape for each in WEIGHTS if each.is_matrix}
PARAMETERS = sum(map(math.prod, MATRICES.values()))
ONNX, LITERT = FAMILIES["onnx"], FAMILIES["litert"]
LOUD = "model.layers.3.mlp.down_proj.weight"


def losses(loud: float = 1.0) -> Losses:
    """As of LiteRT's schemes: four bits cost each matrix 0.001, and one of them `loud`."""
    return {
        name: {
            "int4-channel": 3 * (loss := loud if name == LOUD else 1e-3),
            "int4-g32": loss,
            "int8-channel": loss / 200,
            "fp16": 0.0,
        }
        for name in MATRICES
    }


def mixed(budget: str) -> Recipe:
    return mixed_recipe(load_recipe(f"mixed:{budget}"), WEIGHTS, losses())


def stored(recipe: Recipe) -> int:
    return sum(scheme.stored_bytes(MATRICES[name]) for name, scheme in recipe.schemes(SPEC).items())


@pytest.mark.parametrize("bits", [4.6, 6.0, 7.5, 8.2, 12.0])
def test_before_losses_are_measured_a_choice_takes_what_its_budget_allows(bits: float) -> None:
    recipe, schemes = load_recipe(f"mixed:{bits}"), candidates(WEIGHTS, [LITERT])
    assert recipe.budget is not None
    most = recipe.budget.most(WEIGHTS)
    taken = stored(mixed_recipe(recipe, WEIGHTS, unmeasured(WEIGHTS, schemes)))
    step = min(
        INT8_CHANNEL.stored_bytes(shape) - INT4_G32.stored_bytes(shape) for shape in MATRICES.values()
    )
    assert most - max(step, most // 20) < taken <= most


@pytest.mark.parametrize("bits", [4.3, 4.6, 5.0, 6.0, 7.5, 8.2, 12.0, 20.0])
def test_every_budget_is_kept_exactly_as_matrices_are_stored(bits: float) -> None:
    assert stored(mixed(f"{bits}")) <= bits * PARAMETERS / 8


def test_a_size_holds_towers_too_and_bits_are_the_texts() -> None:
    tower = VisionComponent(tiny_siglip().spec)
    rules = tower_rules(load_recipe("mixed:4.8"), tower)
    seen = sum(rules[each.name].scheme.stored_bytes(each.shape) for each in tower.weights if each.is_matrix)
    size = int(5 * PARAMETERS / 8)
    asked = load_recipe(f"mixed:{size + seen}B")
    found = mixed_recipe(within_release(asked, [tower]), WEIGHTS, losses())
    assert found.schemes(SPEC) == mixed(f"{size}B").schemes(SPEC) != mixed(f"{size + seen}B").schemes(SPEC)
    assert f"its towers' {seen:,} bytes among them" in found.description
    bits = load_recipe("mixed:4.8")
    assert within_release(bits, [tower]) == bits
    assert within_release(asked, []) == asked
    with pytest.raises(RecipeError, match=f"beside its towers' {megabytes(seen)}") as caught:
        mixed_recipe(within_release(load_recipe("mixed:9KB"), [tower]), WEIGHTS, losses())
    least = re.search(r"mixed:[\d.]+kB", caught.value.then)
    assert least is not None
    mixed_recipe(within_release(load_recipe(least[0]), [tower]), WEIGHTS, losses())


def test_the_first_bytes_go_to_the_matrix_that_needs_them_most() -> None:
    all_int4 = sum(INT4_G32.stored_bytes(shape) for shape in MATRICES.values())
    room = INT8_CHANNEL.stored_bytes(MATRICES[LOUD]) - INT4_G32.stored_bytes(MATRICES[LOUD])
    schemes = mixed(f"{all_int4 + room}B").schemes(SPEC)
    assert schemes.pop(LOUD) == INT8_CHANNEL
    assert set(schemes.values()) == {INT4_G32}


def test_the_text_says_what_was_bought_and_is_a_recipe_of_its_own(tmp_path: Path) -> None:
    recipe = mixed("5.0")
    assert "KL 1 at int4-g32, 0.005 at int8-channel for 3,712 bytes." in recipe.text
    assert "Schemes chosen within 5.0, to the least predicted loss: " in recipe.description
    assert "bits a weight; KL 0." in recipe.description
    (tmp_path / "mine.toml").write_text(recipe.text, encoding="utf-8")
    read = load_recipe(str(tmp_path / "mine.toml"))
    assert read.rules == recipe.rules
    assert (read.equalization, read.calibration) == (recipe.equalization, recipe.calibration)
    assert (recipe.name, recipe.budget) == ("mixed-5.0", None)


def test_the_limit_is_what_was_predicted_with_a_margin_and_int4s_at_most() -> None:
    assert mixed("8.1").quantisation.mean_kl < 0.05
    assert mixed("4.3").quantisation.mean_kl == load_recipe("int4").quantisation.mean_kl


def test_half_precision_is_bought_only_where_8_bits_fit_everywhere() -> None:
    all_int8 = sum(INT8_CHANNEL.stored_bytes(shape) for shape in MATRICES.values())
    below, above = mixed(f"{all_int8 - 1}B"), mixed(f"{all_int8 + 20_000}B")
    assert "fp16" not in {scheme.name for scheme in below.schemes(SPEC).values()}
    assert above.schemes(SPEC)[LOUD].name == "fp16"


def test_a_budget_above_everything_says_that_nothing_was_given_up() -> None:
    recipe = mixed("1GB")
    assert "The budget holds the best of everything" in recipe.description
    assert {scheme.name for scheme in recipe.schemes(SPEC).values()} == {"fp16"}
    assert recipe.calibration is None, "nothing is left to find codes for"


@pytest.mark.parametrize("asked", ["2.0", "1kB", "1234B"])
def test_a_budget_below_everything_names_one_that_is_enough_as_one_types_it(asked: str) -> None:
    least = sum(INT4_CHANNEL.stored_bytes(shape) for shape in MATRICES.values())
    with pytest.raises(RecipeError) as caught:
        mixed(asked)
    enough = re.search(r"give at least mixed:(\S+?),", str(caught.value))
    assert enough is not None
    assert len(enough[1]) <= len("2789MB"), "it can be read"
    assert enough[1].isalnum() is not asked.endswith(".0"), "bits are answered in bits"
    assert least <= stored(mixed(enough[1])) <= 1.02 * least
    with pytest.raises(RecipeError):
        mixed(f"{least - 1}B")


def test_candidates_are_what_every_runtime_carries_where_the_matrix_is() -> None:
    narrow = WeightSpec("narrow", (8, 24), Role.LINEAR)
    found = candidates([*WEIGHTS, narrow], [ONNX, LITERT])
    assert [each.name for each in found[LOUD]] == ["int4-channel", "int4-g32", "int8-channel", "fp16"]
    assert [each.name for each in found["narrow"]] == ["int4-channel", "int8-channel", "fp16"]
    on_gpu = candidates(WEIGHTS, [LITERT.on("GPU")])[LOUD]
    assert [each.name for each in on_gpu] == ["int4-channel", "int8-channel", "fp16"]


def test_the_base_is_the_best_of_few_bits() -> None:
    assert base([INT4_CHANNEL, INT4_G32, INT4_G32_ZP, INT8_CHANNEL]) == INT4_G32_ZP
    assert base([INT4_CHANNEL, INT4_G32, INT8_CHANNEL]) == INT4_G32
    assert base([INT8_CHANNEL]) is None


def test_a_budget_is_refused_before_anything_is_measured() -> None:
    schemes = dict.fromkeys(MATRICES, (SCHEMES["int8-channel"],))
    with pytest.raises(RecipeError, match=r"the smallest choice takes .* bits a weight"):
        require_possible(load_recipe("mixed:7.9"), WEIGHTS, schemes)
