"""TOML that tomllib ends on with errors of other kinds is refused as what it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.errors import ProfileError, RecipeError
from exporter.planning.profiles import read_profile
from exporter.planning.recipe import RECIPES, load_recipe

HOSTILE = {
    "nested": "a = " + "[" * 100_000,
    "long": f"a = {'9' * 5000}",
    "hexadecimal": f"description = 0x{'f' * 5000}",
    "not_text": "\0",
    "large": "#" * (1 << 20) + "\n",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_toml_is_refused_as_a_recipe_and_as_a_profile(name: str, tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(HOSTILE[name], encoding="utf-8")
    with pytest.raises(RecipeError) as refused:
        load_recipe(str(path))
    assert len(str(refused.value)) < len(str(path)) + 500
    with pytest.raises(ProfileError):
        read_profile(path)


def test_a_recipe_file_that_is_missing_is_called_that(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no such file; correct the path, or name a recipe"):
        load_recipe(str(tmp_path / "recipe.toml"))


def test_a_byte_order_mark_of_an_editor_is_read_over(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text((RECIPES / "int8.toml").read_text(encoding="utf-8"), encoding="utf-8-sig")
    assert load_recipe(str(path)).name == "mine"
