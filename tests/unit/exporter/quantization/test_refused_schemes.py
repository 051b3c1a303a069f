"""Schemes a runtime does not carry: a recipe that asks for one is refused before any work, in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from exporter.cli import main
from exporter.formats.table import family_of
from exporter.schemes import ASYMMETRIC, SYMMETRIC, IntegerScheme
from runtimes.formats import FORMATS, Format
from tests.checkpoints import write_huggingface

REFUSED = [
    (format, scheme)
    for format in FORMATS
    for scheme in (*SYMMETRIC, *ASYMMETRIC)
    if not family_of(format).carries(scheme)
]
RECIPE = """
description = "One scheme for everything."

[[rule]]
match = ["*"]
scheme = "{scheme}"
reason = "To see who takes it."

[limits.quantisation]
mean_kl = 1.0
top1 = 0.0
reason = "None."
"""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_huggingface(tmp_path_factory.mktemp("checkpoint") / "model")


def test_every_runtime_refuses_something() -> None:
    assert {format for format, _ in REFUSED} == set(FORMATS)


@pytest.mark.parametrize(
    ("format", "scheme"), REFUSED, ids=[f"{format}-{scheme.name}" for format, scheme in REFUSED]
)
def test_a_recipe_with_a_scheme_the_runtime_does_not_carry_is_refused(
    tmp_path: Path, checkpoint: Path, format: Format, scheme: IntegerScheme
) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text(RECIPE.format(scheme=scheme.name), encoding="utf-8")
    arguments = ["--target", "all", "--format", format, "--model", str(checkpoint), "--context", "64"]
    result = CliRunner().invoke(
        main, [*arguments, "--recipe", str(recipe), "-o", str(tmp_path / "release")]
    )
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("error: recipe mine: gives model.")
    assert f" scheme {scheme.name}, which {family_of(format).name} cannot carry unchanged" in result.stderr
    assert f"choose one of {', '.join(sorted(family_of(format).schemes))} for it" in result.stderr
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == [recipe]
