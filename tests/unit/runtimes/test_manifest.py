"""A manifest is read as it was written, in either schema, or refused with the place of what is wrong.

Not about whether the files it lists are there (tests/unit/exporter/packaging/test_release).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runtimes.errors import ManifestError
from runtimes.manifest import Artifact, ComponentEntry, FileEntry, Manifest, read_manifest

TEXT = ComponentEntry("gemma3_text", 379136, ("tokens",), ("logits",))
MANIFEST = Manifest(
    schema_version=2,
    model={"name": "tiny", "model_type": "gemma3_text", "parameters": 379136, "left_out": []},
    source={"name": "tiny", "sha256": {"model.safetensors": "0" * 64}},
    components={"text": TEXT},
    versions={"gemma-export": "0.1.0"},
    plan={"recipe": "int8"},
    artifacts=(Artifact("text", "onnx", "onnx/model.onnx", 64, 512, 16, "last"),),
    files=(FileEntry("onnx/model.onnx", 5, "0" * 64),),
)


def in_schema_1() -> dict[str, Any]:
    """The manifest as it was written before components had names."""
    raw: dict[str, Any] = json.loads(MANIFEST.to_json())
    raw["schema_version"] = 1
    del raw["components"]
    for artifact in raw["artifacts"]:
        del artifact["component"]
    return raw


def written(raw: object, release: Path) -> Path:
    (release / "manifest.json").write_text(json.dumps(raw), encoding="utf-8")
    return release


def test_what_was_written_is_read(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(MANIFEST.to_json(), encoding="utf-8")
    assert read_manifest(tmp_path) == MANIFEST


def test_schema_1_is_read_as_a_text_decoder_alone(tmp_path: Path) -> None:
    assert read_manifest(written(in_schema_1(), tmp_path)) == MANIFEST


@pytest.mark.parametrize("version", [0, 3, "2", None])
def test_another_schema_is_refused_with_those_that_are_read(tmp_path: Path, version: object) -> None:
    raw = json.loads(MANIFEST.to_json()) | {"schema_version": version}
    said = (
        f"schema_version is {version!r} and this version reads 1 and 2; use the gemma-export that wrote it"
    )
    with pytest.raises(ManifestError, match=re.escape(f"{tmp_path / 'manifest.json'}: {said}")):
        read_manifest(written(raw, tmp_path))


def another_component(raw: dict[str, Any]) -> None:
    raw["components"]["vision"] = raw["components"]["text"]


def an_artifact_of_another_component(raw: dict[str, Any]) -> None:
    raw["artifacts"][0]["component"] = "vision"


def an_artifact_of_a_component_that_is_not_there(raw: dict[str, Any]) -> None:
    raw["components"] = {}


def an_artifact_of_no_component(raw: dict[str, Any]) -> None:
    del raw["artifacts"][0]["component"]


def components_as_a_list(raw: dict[str, Any]) -> None:
    raw["components"] = ["text"]


def a_component_without_outputs(raw: dict[str, Any]) -> None:
    del raw["components"]["text"]["outputs"]


def a_component_with_more(raw: dict[str, Any]) -> None:
    raw["components"]["text"]["layers"] = 26


def parameters_in_words(raw: dict[str, Any]) -> None:
    raw["components"]["text"]["parameters"] = "many"


def a_model_type_of_none(raw: dict[str, Any]) -> None:
    raw["components"]["text"]["model_type"] = None


def an_input_nobody_knows(raw: dict[str, Any]) -> None:
    raw["components"]["text"]["inputs"] = ["tokens", "pixels"]


def outputs_in_one_word(raw: dict[str, Any]) -> None:
    raw["components"]["text"]["outputs"] = "logits"


def another_format(raw: dict[str, Any]) -> None:
    raw["artifacts"][0]["format"] = "ggml"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (another_component, "a name at $.components is 'vision', expected one of ('text',)"),
        (
            an_artifact_of_another_component,
            "$.artifacts[0].component is 'vision', expected one of ('text',)",
        ),
        (
            an_artifact_of_a_component_that_is_not_there,
            "$.artifacts[0].component is 'text', expected one of ()",
        ),
        (an_artifact_of_no_component, "missing key 'component' at $.artifacts[0]"),
        (components_as_a_list, "expected an object at $.components"),
        (a_component_without_outputs, "missing key 'outputs' at $.components.text"),
        (a_component_with_more, "unknown key 'layers' at $.components.text"),
        (parameters_in_words, "$.components.text.parameters is 'many', expected int"),
        (a_model_type_of_none, "$.components.text.model_type is None, expected str"),
        (
            an_input_nobody_knows,
            "$.components.text.inputs[1] is 'pixels', expected one of ('tokens', 'logits')",
        ),
        (outputs_in_one_word, "expected an array at $.components.text.outputs"),
        (another_format, "$.artifacts[0].format is 'ggml', expected one of ('tflite', "),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], said: str
) -> None:
    raw = json.loads(MANIFEST.to_json())
    change(raw)
    with pytest.raises(ManifestError, match=re.escape(f"{tmp_path / 'manifest.json'}: {said}")):
        read_manifest(written(raw, tmp_path))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda raw: raw.update(components={}), "unknown key 'components' at $;"),
        (
            lambda raw: raw["artifacts"][0].update(component="text"),
            "unknown key 'component' at $.artifacts[0]",
        ),
        (lambda raw: raw["artifacts"][0].pop("context"), "missing key 'context' at $.artifacts[0]"),
        (lambda raw: raw["model"].pop("parameters"), "$.model.parameters is None, expected int"),
        (lambda raw: raw.update(model=None), "$.model.model_type is None, expected str"),
        (lambda raw: raw["model"].update(parameters="270M"), "$.model.parameters is '270M', expected int"),
    ],
    ids=["components", "component", "no_context", "no_parameters", "no_model", "parameters_in_words"],
)
def test_schema_1_is_read_as_strictly(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], said: str
) -> None:
    raw = in_schema_1()
    change(raw)
    with pytest.raises(ManifestError, match=re.escape(said)):
        read_manifest(written(raw, tmp_path))
