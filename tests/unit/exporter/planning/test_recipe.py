"""Recipes are total, strict and read from TOML."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.errors import RecipeError
from exporter.models.text.families import read_spec
from exporter.planning.recipe import QualityLimit, load_recipe, recipe_names
from tests.tiny import TINY_CONFIGS, tiny_gemma3

LIMITS = "[limits.quantisation]\nmean_kl = 1.0\ntop1 = 0.5\nreason = 'x'\n"
LIMIT = '{ mean_kl = 1.0, top1 = 0.5, reason = "test" }'


def write_recipe(path: Path, rules: str, limits: str = f"[limits]\nquantisation = {LIMIT}\n") -> str:
    recipe = path / "mine.toml"
    recipe.write_text(f'description = "test"\n{rules}\n{limits}', encoding="utf-8")
    return str(recipe)


def rule(match: str, scheme: str = "int8-channel") -> str:
    return f'[[rule]]\nmatch = ["{match}"]\nscheme = "{scheme}"\nreason = "test"\n'


@pytest.mark.parametrize("name", recipe_names())
@pytest.mark.parametrize("family", TINY_CONFIGS)
def test_every_shipped_recipe_decides_every_matrix_of_every_family(name: str, family: str) -> None:
    spec = read_spec(TINY_CONFIGS[family](), "config.json")
    schemes = load_recipe(name).schemes(spec)
    assert set(schemes) == {weight.name for weight in spec.weights() if weight.is_matrix}


def test_int4_keeps_the_embedding_in_8_bits() -> None:
    schemes = load_recipe("int4").schemes(read_spec(tiny_gemma3(), "config.json"))
    by_name = {name: scheme.name for name, scheme in schemes.items()}
    assert by_name.pop("model.embed_tokens.weight") == "int8-channel"
    assert set(by_name.values()) == {"int4-g32"}


def test_the_first_matching_rule_decides(tmp_path: Path) -> None:
    path = write_recipe(tmp_path, rule("*.v_proj.weight", "fp16") + rule("*"))
    schemes = load_recipe(path).schemes(read_spec(tiny_gemma3(), "config.json"))
    assert schemes["model.layers.0.self_attn.v_proj.weight"].name == "fp16"
    assert schemes["model.layers.0.self_attn.k_proj.weight"].name == "int8-channel"


def test_an_undecided_weight_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = write_recipe(tmp_path, rule("model.layers.*"))
    with pytest.raises(RecipeError, match=r"no rule decides model\.embed_tokens\.weight"):
        load_recipe(path).schemes(read_spec(tiny_gemma3(), "config.json"))


def test_a_rule_that_matches_nothing_is_an_error(tmp_path: Path) -> None:
    path = write_recipe(tmp_path, rule("*.qkv_proj.weight") + rule("*"))
    with pytest.raises(RecipeError, match=r"the rule for \*\.qkv_proj\.weight matches no weight"):
        load_recipe(path).schemes(read_spec(tiny_gemma3(), "config.json"))


@pytest.mark.parametrize(
    ("rules", "limits", "complaint"),
    [
        (rule("*") + "extra = 1\n", None, r"\$\.rule\[0\]\.extra: unknown key"),
        (rule("*", "int3"), None, r"\$\.rule\[0\]\.scheme: expected one of int8-channel"),
        ('[[rule]]\nmatch = ["*"]\nreason = "x"\n', None, r"\$\.rule\[0\]\.scheme: key is missing"),
        ("", None, r"\$\.rule: key is missing"),
        (rule("*"), "[limits]\n", r"\$\.limits\.quantisation: key is missing"),
        (
            rule("*"),
            "[limits]\nquantisation = { mean_kl = 1.0, top1 = 2.0, reason = 'x' }\n",
            "a number from 0 to 1, got 2",
        ),
        (
            rule("*"),
            f"{LIMITS}\n[equalization]\nweights = 0.5\nreason = 'x'\n",
            r"activations: key is missing",
        ),
        (
            rule("*"),
            f"{LIMITS}\n[equalization]\nweights = 2.0\nactivations = 0\nembedding = 0\nreason = 'x'\n",
            r"equalization\.weights: expected a number from 0 to 1, got 2",
        ),
        (
            rule("*"),
            f"[limits]\nquantisation = {LIMIT}\nend_to_end.mlx = {LIMIT}\n",
            r"\$\.limits\.end_to_end\.mlx: unknown runtime; known here: coreml, litert, onnx",
        ),
        (
            rule("*"),
            f"[limits]\nquantisation = {LIMIT}\nend_to_end.onnx = {LIMIT.replace('0.5', '1.5')}\n",
            r"\$\.limits\.end_to_end\.onnx\.top1: expected a number from 0 to 1, got 1\.5",
        ),
    ],
)
def test_a_malformed_recipe_is_refused_with_file_and_key(
    tmp_path: Path, rules: str, limits: str | None, complaint: str
) -> None:
    path = write_recipe(tmp_path, rules, *([limits] if limits else []))
    with pytest.raises(RecipeError, match=complaint) as caught:
        load_recipe(path)
    assert "mine.toml" in str(caught.value)


def test_end_to_end_limits_are_by_runtime_and_one_may_be_left_out(tmp_path: Path) -> None:
    limits = f"[limits]\nquantisation = {LIMIT}\nend_to_end.coreml = {LIMIT}\nend_to_end.litert = {LIMIT}\n"
    ends = load_recipe(write_recipe(tmp_path, rule("*"), limits)).end_to_end
    assert ends == dict.fromkeys(("coreml", "litert"), QualityLimit(1.0, 0.5, "test"))
    assert load_recipe(write_recipe(tmp_path, rule("*"))).end_to_end == {}


def test_an_unknown_recipe_names_those_there_are() -> None:
    with pytest.raises(RecipeError, match=r"use one of as-stored, float, int4, int4-fast, int4-zp, int8"):
        load_recipe("int5")
