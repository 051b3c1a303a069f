"""The entry for AI Edge Gallery's list has what the app reads, and what is in it is true of the bundle."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from exporter.checkpoints.huggingface.source import HuggingFaceSource
from exporter.packaging.gallery import ALLOWLIST_NAME, write_allowlist
from runtimes.formats import Accelerator
from runtimes.manifest import Artifact
from tests.jobs import a_plan, a_variant
from tests.tiny import RandomSource, tiny_gemma3
from tests.tiny_image_stores import write_tiny_multimodal

BUNDLE = Artifact("text", "litertlm", "model.litertlm", 64, 512, 16, "none")
# Of `AllowedModel` in the app, those without a default value.
REQUIRED = {"name", "modelId", "modelFile", "commitHash", "description", "sizeInBytes", "taskTypes"}


def entry(tmp_path: Path, recipe: str = "int8", meant: Accelerator = "CPU") -> dict[str, Any]:
    variant = replace(a_variant(recipe, ("litertlm",)), accelerators={"litertlm": meant})
    (tmp_path / "model.litertlm").write_bytes(b"x" * 70)
    write_allowlist(tmp_path, "tiny", a_plan(RandomSource(tiny_gemma3()), variant), (BUNDLE,))
    (found,) = json.loads((tmp_path / ALLOWLIST_NAME).read_text(encoding="utf-8"))["models"]
    assert isinstance(found, dict)
    return found


def test_it_describes_the_bundle(tmp_path: Path) -> None:
    found = entry(tmp_path)
    assert found.keys() >= REQUIRED
    assert (found["modelFile"], found["sizeInBytes"]) == ("model.litertlm", 70)
    assert found["defaultConfig"]["maxTokens"] == found["defaultConfig"]["maxContextLength"] == 64
    assert found["taskTypes"] == ["llm_chat", "llm_prompt_lab"]


@pytest.mark.parametrize(
    ("recipe", "meant", "offered"),
    [("int8", "CPU", "cpu,gpu"), ("int8", "GPU", "gpu,cpu"), ("int4", "CPU", "cpu")],
)
def test_accelerators_that_cannot_run_it_are_not_offered(
    recipe: str, meant: Accelerator, offered: str, tmp_path: Path
) -> None:
    assert entry(tmp_path, recipe, meant)["defaultConfig"]["accelerators"] == offered


def test_a_release_without_a_bundle_has_none(tmp_path: Path) -> None:
    plan = a_plan(RandomSource(tiny_gemma3()), a_variant("int8", ("onnx",)))
    write_allowlist(tmp_path, "tiny", plan, (replace(BUNDLE, format="onnx", path="onnx/model.onnx"),))
    assert not (tmp_path / ALLOWLIST_NAME).exists()


def seeing_entry(tmp_path: Path, kind: str, soft_tokens: int) -> dict[str, Any]:
    (tmp_path / "model.litertlm").write_bytes(b"x")
    source = HuggingFaceSource.open(write_tiny_multimodal(tmp_path / "checkpoint", kind))
    variant = a_variant("int8", ("litertlm",), context=soft_tokens + 64)
    write_allowlist(tmp_path, "tiny", a_plan(source, replace(variant, soft_tokens=soft_tokens)), (BUNDLE,))
    (found,) = json.loads((tmp_path / ALLOWLIST_NAME).read_text(encoding="utf-8"))["models"]
    assert isinstance(found, dict)
    return found


def test_a_bundle_of_text_alone_is_offered_no_pictures(tmp_path: Path) -> None:
    found = entry(tmp_path)
    assert "text only" in found["description"]
    assert "llmSupportImage" not in found


@pytest.mark.parametrize(("kind", "soft_tokens"), [("Gemma 3", 4), ("Gemma 4 E2B", 70)])
def test_a_bundle_that_sees_is_offered_pictures(kind: str, soft_tokens: int, tmp_path: Path) -> None:
    found = seeing_entry(tmp_path, kind, soft_tokens)
    assert "text and pictures" in found["description"]
    assert found["llmSupportImage"] is True
    assert found["defaultConfig"]["visionAccelerator"] == "cpu"
    assert found["taskTypes"] == ["llm_chat", "llm_prompt_lab", "llm_ask_image"]
    assert "text and pictures" in found["description"]
    assert "llmSupportAudio" not in found, "the app would look for a model of sound in the bundle"
