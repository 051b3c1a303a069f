"""Formats that can carry a better recipe get it, and the others the one it names for them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from exporter.errors import PlanError, RecipeError
from exporter.planning.recipe import load_recipe, recipe_names
from exporter.planning.sharing_out import share_out
from runtimes.formats import FORMATS, Format


def shares(recipe: str, *formats: Format) -> dict[str, tuple[Format, ...]]:
    return {share.recipe.name: share.formats for share in share_out(load_recipe(recipe), formats)}


def test_zero_points_go_to_the_formats_that_have_them_and_int4_to_the_others() -> None:
    assert shares("int4-zp", "litertlm", "onnx", "tflite", "coreml") == {
        "int4-zp": ("onnx", "coreml"),
        "int4": ("litertlm", "tflite"),
    }


def test_what_every_format_carries_stays_one_recipe() -> None:
    assert shares("int4", *FORMATS) == {"int4": FORMATS}
    assert shares("int4-zp", "onnx", "coreml") == {"int4-zp": ("onnx", "coreml")}


def test_a_recipe_that_none_of_the_formats_can_carry_is_refused_with_the_one_they_can() -> None:
    with pytest.raises(PlanError, match=r"recipe int4-zp: cannot be carried by litertlm and tflite.*int4,"):
        shares("int4-zp", "litertlm", "tflite")


def test_a_recipe_that_names_no_other_is_left_to_the_plan() -> None:
    plain = replace(load_recipe("int4-zp"), instead={})
    assert [share.formats for share in share_out(plain, ("tflite", "onnx"))] == [("tflite", "onnx")]


def test_two_recipes_of_one_name_are_refused() -> None:
    namesake = replace(load_recipe("int4-zp"), name="int4")
    with pytest.raises(RecipeError, match="give the file another name"):
        share_out(namesake, ("tflite", "onnx"))


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_that_ships_is_for_every_format_in_some_way(name: str) -> None:
    found = share_out(load_recipe(name), FORMATS)
    assert sorted(format for share in found for format in share.formats) == sorted(FORMATS)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('abacus = "int4"', r"\$\.instead\.abacus: unknown runtime; known here: coreml, litert, onnx"),
        ('litert = "int5"', r"\$\.instead\.litert: expected one of .*int4-zp.*got 'int5'"),
    ],
)
def test_only_runtimes_and_recipes_that_are_known_are_named(
    tmp_path: Path, line: str, complaint: str
) -> None:
    own = load_recipe("int4-zp").text.replace('litert = "int4"', line)
    (tmp_path / "own.toml").write_text(own, encoding="utf-8")
    with pytest.raises(RecipeError, match=complaint):
        load_recipe(str(tmp_path / "own.toml"))
