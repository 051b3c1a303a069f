"""`gemma-export compare` on tiny models: checkpoints, a release beside them, and what it refuses.

Not about the figures' definitions (tests/unit/exporter/evaluation).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from exporter.cli import main
from exporter.resources import data_directory
from tests.checkpoints import write_huggingface
from tests.end_to_end.test_zero_point_exports import RECIPE
from tests.tiny import tiny_gemma2

DOMAINS = {path.stem for path in (data_directory("samples") / "languages").glob("*.[tj]*")}
CONTEXT, TOKENS = 96, 120


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint, two quantised ones of it, and a release of the second's recipe."""
    place = tmp_path_factory.mktemp("compared")
    model = write_huggingface(place / "tiny")
    recipe = place / "own.toml"
    recipe.write_text(RECIPE, encoding="utf-8")
    for name, made in (("float", "float"), ("own", recipe)):
        done = run("quantize", "--model", model, "--recipe", made, "-o", place / name)
        assert done.exit_code == 0, done.output
    shape = ("--target", "desktop", "--format", "onnx", "--recipe", recipe, "--context", str(CONTEXT))
    done = run("--model", model, *shape, "-o", place / "release")
    assert done.exit_code == 0, done.output
    return place


@pytest.fixture(scope="module")
def compared(place: Path) -> tuple[Result, dict[str, Any]]:
    """All three, and what was written of it."""
    subjects = [place / name for name in ("float", "own", "release")]
    shape = ("--model", place / "tiny", "--tokens", str(TOKENS), "--json", place / "figures.json")
    result = run("compare", *subjects, *shape)
    assert result.exit_code == 0, result.output
    return result, json.loads((place / "figures.json").read_text(encoding="utf-8"))


def mean_kl(subject: dict[str, Any]) -> float:
    found: float = subject["overall"]["statistics"]["mean_kl"]
    return found


def test_checkpoints_and_artifacts_are_held_against_the_original(
    place: Path, compared: tuple[Result, dict[str, Any]]
) -> None:
    found = compared[1]["executed"]
    plain, own, artifact = found["subjects"]
    names = [each["name"] for each in found["subjects"]]
    assert names == [str(place / each) for each in ("float", "own", "release/onnx/model.onnx")]
    assert [each["kind"] for each in found["subjects"]] == ["checkpoint", "checkpoint", "artifact"]
    assert mean_kl(plain) < 1e-4 < mean_kl(own)
    assert mean_kl(artifact) == pytest.approx(mean_kl(own), rel=0.2), "the same integers"
    assert (plain["recipe"], artifact["recipe"]) == (None, "own")
    assert 16 <= plain["bits"] < 16.5
    assert 4.5 < own["bits"] < 5.5
    assert artifact["nbytes"] == sum(
        path.stat().st_size for path in (place / "release" / "onnx").glob("model.onnx*")
    )


def test_what_the_release_reports_stands_beside(
    place: Path, compared: tuple[Result, dict[str, Any]]
) -> None:
    found = compared[1]["reported"]
    (release,) = found["releases"]
    (artifact,) = release["artifacts"]
    assert (release["directory"], release["outcome"]) == (str(place / "release"), "passed")
    assert (artifact["artifact"], artifact["end_to_end"]["positions"]) == ("onnx/model.onnx", CONTEXT)
    assert artifact["prefill_tokens_per_second"] > 0
    assert artifact["decode_tokens_per_second"] > 0
    assert found["changes"] == []


def test_a_checkpoint_is_held_against_the_one_before_it(
    place: Path, compared: tuple[Result, dict[str, Any]]
) -> None:
    found = compared[1]["executed"]
    plain, own, _ = found["subjects"]
    (change,) = found["changes"]
    assert (change["name"], change["before"]) == (str(place / "own"), str(place / "float"))
    assert change["nbytes"] == pytest.approx(own["nbytes"] / plain["nbytes"] - 1)
    assert change["mean_kl"] == pytest.approx(mean_kl(own) / mean_kl(plain) - 1)
    assert "Against the directory before, as executed here" in compared[0].output


def test_every_domain_is_compared_on_the_same_positions(compared: tuple[Result, dict[str, Any]]) -> None:
    found = compared[1]["executed"]
    for subject in found["subjects"]:
        assert {each["name"] for each in subject["domains"]} == DOMAINS
        assert {each["kind"] for each in subject["domains"]} == {"language", "code", "chat"}
        assert {each["figures"]["statistics"]["positions"] for each in subject["domains"]} == {TOKENS - 1}
        assert subject["overall"]["statistics"]["positions"] == len(DOMAINS) * (TOKENS - 1)
        assert all(each["figures"]["errors"]["mean_kl"] >= 0 for each in subject["domains"])
    assert found["longest"] == CONTEXT + 1
    assert found["tokens"] == len(DOMAINS) * TOKENS


def test_all_tables_are_printed(place: Path, compared: tuple[Result, dict[str, Any]]) -> None:
    output, found = compared[0].output, compared[1]["executed"]
    for word in ("Bits", "Mean KL", "Median", "99 %", "Max", "Top-1", "Perplexity ratio", "all languages"):
        assert word in output
    for domain in DOMAINS:
        assert domain in output
    assert "as of the machine that made the release" in " ".join(output.split())
    assert f"{found['tokens']:,} tokens in sequences of at most {CONTEXT + 1}" in output


def refused(result: Result, complaint: str) -> None:
    assert result.exit_code == 2, result.output
    assert complaint in result.stderr
    assert result.stderr.count("\n") == 1


def test_what_was_not_made_here_or_of_this_model_is_refused(place: Path, tmp_path: Path) -> None:
    refused(run("compare", tmp_path, "--model", place / "tiny"), "is neither a quantised checkpoint nor")
    other = write_huggingface(tmp_path / "other", tiny_gemma2())
    for subject in ("own", "release"):
        refused(run("compare", place / subject, "--model", other), f"was not made from {other}")
    many = ("--model", place / "tiny", "--tokens", "1000000")
    refused(run("compare", place / "own", *many), "the longest text of a domain has ")
    nowhere = ("--json", tmp_path / "nowhere" / "figures.json")
    refused(run("compare", place / "own", "--model", place / "tiny", *nowhere), "cannot be written")


def test_a_checkpoint_that_is_not_finished_is_refused(place: Path, tmp_path: Path) -> None:
    (tmp_path / "quantizing.json").write_text("{}")
    refused(run("compare", tmp_path, "--model", place / "tiny"), "the checkpoint is not finished")
