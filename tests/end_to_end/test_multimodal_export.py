"""The command on checkpoints with towers: what a release says it is made of, and what it left out.

Matrix: two families with towers, one format, with the image tower and without; one by its name out of the
Hub's cache. Not asserted here: every runtime on every family (tests/parity), what towers compute, real
weights.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from safetensors.torch import load_file, save_file

from exporter.checkpoints.huggingface.source import HuggingFaceSource
from exporter.cli import main
from exporter.models.components import TEXT_ALONE
from exporter.packaging.release import verify_release
from exporter.views.json_report import read_report
from runtimes.images.processing import read_processing
from runtimes.manifest import read_manifest
from tests.end_to_end.test_command_line import write_recipe
from tests.fake_hub import COMMIT
from tests.tiny_image_stores import write_tiny_multimodal
from tests.unit.exporter.checkpoints.multimodal_checkpoints import write_multimodal


def export(model: str | Path, place: Path, *more: str) -> Result:
    recipe = write_recipe(place / "own.toml", 0.1)
    # Random weights: their favourites are close together, and eight bits swap many of them.
    recipe.write_text(
        recipe.read_text(encoding="utf-8").replace("top1 = 0.9", "top1 = 0.5"), encoding="utf-8"
    )
    shape = ("--recipe", recipe, "--context", "64", "--format", "onnx")
    arguments = ("--target", "desktop", "--model", model, *shape, *more, "-o", place / "release")
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def check(result: Result, release: Path, left_out: tuple[str, ...]) -> None:
    assert result.exit_code == 0, result.output
    assert verify_release(release) == ()
    assert read_report(release / "report.json").left_out == left_out
    assert read_manifest(release).model["left_out"] == list(left_out)
    words = f"Left out of the checkpoint: {'; '.join(left_out)}."
    assert words in (release / "README.md").read_text(encoding="utf-8")
    assert words in (release / "report.html").read_text(encoding="utf-8")
    assert words in " ".join(result.stdout.split())


def test_text_and_tower_of_a_directory_are_released_and_validated_again(tmp_path: Path) -> None:
    write_multimodal(tmp_path / "checkpoint", "gemma3", "inner")
    result = export(tmp_path / "checkpoint", tmp_path)
    assert result.exit_code == 0, result.output
    assert verify_release(tmp_path / "release") == ()
    manifest = read_manifest(tmp_path / "release")
    assert set(manifest.components) == {"text", "vision"}
    assert manifest.components["vision"].model_type == "siglip_vision_model"
    assert manifest.model["left_out"] == []
    assert manifest.encoders is not None
    assert [each.soft_tokens for each in manifest.encoders] == [4]
    assert read_processing(tmp_path / "release").soft_tokens == 4
    assert manifest.components["vision"].parameters > 0
    assert "fp16" in manifest.plan["schemes"], "of patches and positions"
    report = read_report(tmp_path / "release" / "report.json")
    (verdict,), (run,) = report.devices, report.runs
    tower = sum(each.stat().st_size for each in (tmp_path / "release" / "onnx").glob("vision.onnx*"))
    assert [each.artifact_bytes for each in verdict.artifacts] == [run.bytes + tower]
    again = CliRunner().invoke(
        main, ["validate", str(tmp_path / "release"), "--model", str(tmp_path / "checkpoint")]
    )
    assert again.exit_code == 0, again.output


def test_text_alone_leaves_the_tower_out_and_says_so(tmp_path: Path) -> None:
    write_multimodal(tmp_path / "checkpoint", "gemma4_unified", "inner")
    left_out = HuggingFaceSource.open(tmp_path / "checkpoint", TEXT_ALONE).left_out
    assert left_out[0].startswith("vision embedder, ")
    result = export(tmp_path / "checkpoint", tmp_path, "--components", "text")
    check(result, tmp_path / "release", left_out)
    manifest = read_manifest(tmp_path / "release")
    assert set(manifest.components) == {"text"}
    assert manifest.encoders is None
    again = CliRunner().invoke(
        main, ["validate", str(tmp_path / "release"), "--model", str(tmp_path / "checkpoint")]
    )
    assert again.exit_code == 0, again.output


@pytest.mark.parametrize(
    ("more", "what"),
    [
        (("--image-tokens", "280"), "makes 4 of every image"),
        (("--components", "text", "--image-tokens", "4"), "no image tower"),
    ],
)
def test_soft_tokens_that_no_tower_makes_are_refused(
    more: tuple[str, ...], what: str, tmp_path: Path
) -> None:
    write_multimodal(tmp_path / "checkpoint", "gemma3", "inner")
    result = export(tmp_path / "checkpoint", tmp_path, *more)
    assert result.exit_code == 2
    assert what in " ".join(result.output.split())
    assert not (tmp_path / "release").exists()


def test_a_tower_without_places_for_common_pictures_is_refused(tmp_path: Path) -> None:
    write_tiny_multimodal(tmp_path / "checkpoint", "Gemma 4 31B")
    path = tmp_path / "checkpoint" / "config.json"
    config = json.loads(path.read_bytes())
    config["vision_config"]["position_embedding_size"] = 16
    path.write_text(json.dumps(config), encoding="utf-8")
    weights = tmp_path / "checkpoint" / "model.safetensors"
    tensors = load_file(weights)
    (table,) = (name for name in tensors if name.endswith("position_embedding_table"))
    tensors[table] = tensors[table][:, :16].contiguous()
    save_file(tensors, weights)
    result = export(tmp_path / "checkpoint", tmp_path, "--context", "512")
    assert result.exit_code == 2
    said = " ".join(result.output.split())
    assert "position_embedding_size: is 16, and a common picture of 280 soft tokens has" in said
    assert "--components text" in said
    assert sorted(each.name for each in tmp_path.iterdir()) == ["checkpoint", "own.toml"]


def test_a_position_table_of_other_places_than_the_config_says_is_refused(tmp_path: Path) -> None:
    write_tiny_multimodal(tmp_path / "checkpoint", "Gemma 4 31B")
    path = tmp_path / "checkpoint" / "config.json"
    config = json.loads(path.read_bytes())
    config["vision_config"]["position_embedding_size"] -= 1
    path.write_text(json.dumps(config), encoding="utf-8")
    result = export(tmp_path / "checkpoint", tmp_path, "--context", "512")
    assert result.exit_code == 2
    assert "position_embedding_table" in result.output
    assert not (tmp_path / "release").exists()


def test_pictures_that_a_runtime_cannot_be_told_of_are_refused_before_any_work(tmp_path: Path) -> None:
    write_tiny_multimodal(tmp_path / "checkpoint", "Gemma 3")
    path = tmp_path / "checkpoint" / "preprocessor_config.json"
    config = json.loads(path.read_bytes())
    config["image_mean"] = [0.4, 0.4, 0.4]
    path.write_text(json.dumps(config), encoding="utf-8")
    seen: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("exporter.pipeline.make_releases", lambda *_: seen.append("work"))
        result = export(tmp_path / "checkpoint", tmp_path, "--target", "android", "--format", "litertlm")
    assert result.exit_code == 2
    assert "image_mean and image_std are 0.5" in " ".join(result.output.split())
    assert not seen
    assert sorted(each.name for each in tmp_path.iterdir()) == ["checkpoint", "own.toml"]


def test_a_tower_of_an_unknown_kind_is_refused_and_text_goes_on(tmp_path: Path) -> None:
    write_multimodal(tmp_path / "checkpoint", "gemma3", "inner")
    path = tmp_path / "checkpoint" / "config.json"
    config = json.loads(path.read_bytes())
    config["vision_config"] = {"model_type": "dinov9"}
    path.write_text(json.dumps(config), encoding="utf-8")
    refused = export(tmp_path / "checkpoint", tmp_path)
    assert refused.exit_code == 2
    assert "--components text" in " ".join(refused.output.split())
    plan = ["plan", "--target", "desktop", "--model", str(tmp_path / "checkpoint"), "--context", "64"]
    assert CliRunner().invoke(main, [*plan, "--components", "text"]).exit_code == 0


@pytest.mark.parametrize(("model", "lacks"), [("sample", "vision"), ("gemma-3-4b-it", "audio")])
def test_a_component_that_is_not_there_is_refused(model: str, lacks: str) -> None:
    asked = ("--model", model, "--components", f"text,{lacks}")
    plan = CliRunner().invoke(main, ["plan", "--target", "desktop", *asked])
    assert plan.exit_code == 2
    assert f"has no {lacks}" in plan.output


def test_a_published_model_is_released_from_the_hubs_cache(
    tmp_path: Path, hub_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = hub_cache / "models--google--gemma-3-4b-it"
    write_multimodal(home / "snapshots" / COMMIT, "gemma3", "outer")
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(COMMIT, encoding="utf-8")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    result = export("gemma-3-4b", tmp_path, "--components", "text")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("gemma-3-4b is instruction-tuned (google/gemma-3-4b-it on")
    assert read_manifest(tmp_path / "release").source["name"] == "gemma-3-4b-it"
