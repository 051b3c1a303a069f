"""A manifest is read as it was written, in either schema, or refused with the place of what is wrong.

Not about whether the files it lists are there (tests/unit/exporter/packaging/test_release).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runtimes.errors import ManifestError
from runtimes.formats import FORMATS, SUFFIXES
from runtimes.manifest import (
    Artifact,
    CalibrationEntry,
    ComponentEntry,
    FileEntry,
    Manifest,
    TokensEntry,
    read_manifest,
)

TEXT = ComponentEntry("gemma3_text", 379136, ("tokens",), ("logits",))
MANIFEST = Manifest(
    schema_version=2,
    model={"name": "tiny", "model_type": "gemma3_text", "parameters": 379136, "left_out": []},
    source={"name": "tiny", "sha256": {"model.safetensors": "0" * 64}},
    components={"text": TEXT},
    versions={"gemma-export": "0.1.0"},
    plan={
        "recipe": "int8",
        "target": "desktop",
        "formats": ["onnx"],
        "context": 64,
        "schemes": {"int8": 40},
        "weight_bytes": 379136,
        "accelerators": {"onnx": "CPU"},
    },
    artifacts=(Artifact("text", "onnx", "onnx/model.onnx", 64, 512, 16, "last"),),
    files=(FileEntry("onnx/model.onnx", 5, "0" * 64),),
)


def in_schema_1() -> dict[str, Any]:
    """The manifest as it was written before components had names."""
    raw: dict[str, Any] = json.loads(MANIFEST.to_json())
    raw["schema_version"] = 1
    del raw["components"]
    del raw["plan"]["accelerators"]
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
    raw["components"]["sound"] = raw["components"]["text"]


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
    raw["components"]["text"]["inputs"] = ["tokens", "waves"]


def outputs_in_one_word(raw: dict[str, Any]) -> None:
    raw["components"]["text"]["outputs"] = "logits"


def another_format(raw: dict[str, Any]) -> None:
    raw["artifacts"][0]["format"] = "ggml"


def a_path_in_a_list(raw: dict[str, Any]) -> None:
    raw["files"][0]["path"] = ["onnx"]


def a_size_below_nothing(raw: dict[str, Any]) -> None:
    raw["files"][0]["size"] = -1


def a_digest_that_is_none(raw: dict[str, Any]) -> None:
    raw["files"][0]["sha256"] = "abc"


def a_digest_of_the_source_in_a_list(raw: dict[str, Any]) -> None:
    raw["source"]["sha256"] = []


def a_context_that_is_true(raw: dict[str, Any]) -> None:
    raw["plan"]["context"] = True


def a_name_of_a_megabyte(raw: dict[str, Any]) -> None:
    raw["model"]["parameters"] = "a" * (1 << 20)


def no_artifacts(raw: dict[str, Any]) -> None:
    raw["artifacts"] = []


def no_files(raw: dict[str, Any]) -> None:
    raw["files"] = []


def another_context(raw: dict[str, Any]) -> None:
    raw["artifacts"][0]["context"] = 2**40


def a_plan_without_context(raw: dict[str, Any]) -> None:
    raw["plan"]["context"] = 0


def a_chunk_beyond_the_context(raw: dict[str, Any]) -> None:
    raw["artifacts"][0]["prefill_chunk"] = 10**6


def an_artifact_twice(raw: dict[str, Any]) -> None:
    raw["artifacts"] *= 2


def a_file_twice(raw: dict[str, Any]) -> None:
    raw["files"] *= 2


def sums_that_are_listed(raw: dict[str, Any]) -> None:
    raw["files"][0]["path"] = "SHA256SUMS"


def a_plan_of_another_format(raw: dict[str, Any]) -> None:
    raw["plan"]["formats"] = ["coreml"]


def a_plan_of_a_format_twice(raw: dict[str, Any]) -> None:
    raw["plan"]["formats"] *= 2


def accelerators_of_another_format(raw: dict[str, Any]) -> None:
    raw["plan"]["accelerators"] = {"coreml": "CPU"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (no_artifacts, "$.artifacts: is empty, and a release has at least one"),
        (no_files, "$.files: is empty, and a release has at least one"),
        (another_context, "$.artifacts[0].context: is 1099511627776, and $.plan.context is 64"),
        (a_plan_without_context, "$.artifacts[0].context: is 64, and $.plan.context is 0"),
        (
            a_chunk_beyond_the_context,
            "$.artifacts[0].prefill_chunk: is 1000000, more than the context of 64",
        ),
        (an_artifact_twice, "$.artifacts: has 'onnx/model.onnx' twice"),
        (a_file_twice, "$.files: has 'onnx/model.onnx' twice"),
        (sums_that_are_listed, "$.files[0].path: is SHA256SUMS, which no manifest lists"),
        (a_plan_of_another_format, "$.plan.formats: says coreml, and the artifacts are onnx"),
        (a_plan_of_a_format_twice, "$.plan.formats: has 'onnx' twice"),
        (accelerators_of_another_format, "$.plan.accelerators: says coreml, and the artifacts are onnx"),
        (
            another_component,
            "a key of $.components: expected one of 'text', 'vision', 'audio', got `str` 'sound'",
        ),
        (
            an_artifact_of_another_component,
            "$.artifacts[0].component: expected one of 'text', got `str` 'vision'",
        ),
        (
            an_artifact_of_a_component_that_is_not_there,
            "$.artifacts[0].component: is 'text', not one of $.components",
        ),
        (an_artifact_of_no_component, "$.artifacts[0].component: key is missing"),
        (components_as_a_list, "$.components: expected an object, got `list`"),
        (a_component_without_outputs, "$.components.text.outputs: key is missing"),
        (a_component_with_more, "$.components.text.layers: unknown key"),
        (parameters_in_words, "$.components.text.parameters: expected `int`, got `str` 'many'"),
        (a_model_type_of_none, "$.components.text.model_type: expected `str`, got `NoneType` None"),
        (
            an_input_nobody_knows,
            "$.components.text.inputs[1]: expected one of 'tokens', 'logits', 'pixels', 'image rows', "
            "'sound', 'sound rows', "
            "got `str` 'waves'",
        ),
        (outputs_in_one_word, "$.components.text.outputs: expected an array"),
        (another_format, "$.artifacts[0].format: expected one of 'tflite', "),
        (a_path_in_a_list, "$.files[0].path: expected `str`, got `list` ['onnx']"),
        (a_size_below_nothing, "$.files[0].size: expected 0 or more, got -1"),
        (a_digest_that_is_none, "$.files[0].sha256: is no SHA-256: 'abc'"),
        (a_digest_of_the_source_in_a_list, "$.source.sha256: expected an object, got `list`"),
        (a_context_that_is_true, "$.plan.context: expected `int`, got `bool` True"),
        (a_name_of_a_megabyte, "$.model.parameters: expected `int`, got `str` 'aaa"),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], said: str
) -> None:
    raw = json.loads(MANIFEST.to_json())
    change(raw)
    with pytest.raises(ManifestError, match=re.escape(f"{tmp_path / 'manifest.json'}: {said}")) as caught:
        read_manifest(written(raw, tmp_path))
    assert len(str(caught.value)) < len(str(tmp_path)) + 600


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../other", "onnx/../../other", "a\\b", "a\0b", "", "onnx//x"]
)
def test_a_path_that_leaves_the_release_as_written_is_refused(tmp_path: Path, name: str) -> None:
    raw = json.loads(MANIFEST.to_json())
    raw["files"][0]["path"] = name
    with pytest.raises(ManifestError, match="leaves the release directory; do not trust this release"):
        read_manifest(written(raw, tmp_path))


def test_every_format_has_a_suffix() -> None:
    assert set(SUFFIXES) == set(FORMATS)


@pytest.mark.parametrize("linked", ["onnx", "onnx/model.onnx"])
def test_a_path_that_leaves_the_release_by_a_link_is_refused(tmp_path: Path, linked: str) -> None:
    release, outside = tmp_path / "release", tmp_path / "outside"
    (release / linked).parent.mkdir(parents=True)
    outside.mkdir()
    (release / linked).symlink_to(outside, target_is_directory=True)
    (release / "manifest.json").write_text(MANIFEST.to_json(), encoding="utf-8")
    with pytest.raises(ManifestError, match="is a link out of the release directory"):
        read_manifest(release)


def test_a_manifest_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere.json").write_text(MANIFEST.to_json(), encoding="utf-8")
    (tmp_path / "manifest.json").symlink_to("elsewhere.json")
    with pytest.raises(ManifestError, match="is a link; put the release's own manifest there"):
        read_manifest(tmp_path)


def test_text_that_is_no_json_of_ours_is_refused_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("[" * 100_000, encoding="utf-8")
    with pytest.raises(ManifestError, match="is nested more than 64 deep"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda raw: raw.update(components={}), "$.components: unknown key;"),
        (lambda raw: raw["artifacts"][0].update(component="text"), "$.artifacts[0].component: unknown key"),
        (lambda raw: raw["artifacts"][0].pop("context"), "$.artifacts[0].context: key is missing"),
        (lambda raw: raw["model"].pop("parameters"), "$.model.parameters: key is missing"),
        (lambda raw: raw.update(model=None), "$.model: expected an object, got `NoneType` None"),
        (
            lambda raw: raw["model"].update(parameters="270M"),
            "$.model.parameters: expected `int`, got `str` '270M'",
        ),
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


def test_the_text_codes_were_found_on_is_kept_where_there_was_one(tmp_path: Path) -> None:
    entry = CalibrationEntry(("hindi", "code"), 8192, "0" * 64)
    for calibration in (None, entry):
        manifest = replace(MANIFEST, calibration=calibration)
        (tmp_path / "manifest.json").write_text(manifest.to_json(), encoding="utf-8")
        assert ("calibration" in json.loads(manifest.to_json())) == (calibration is not None)
        assert read_manifest(tmp_path).calibration == calibration


def test_the_tokens_that_begin_and_stop_a_text_are_kept_and_may_be_absent(tmp_path: Path) -> None:
    told = replace(MANIFEST, tokens=TokensEntry(2, (1, 106)))
    assert read_manifest(written(json.loads(told.to_json()), tmp_path)) == told
    assert "tokens" not in json.loads(MANIFEST.to_json())


@pytest.mark.parametrize(("key", "ids"), [("bos_token", -1), ("stop_tokens", [1, -1])])
def test_a_token_below_zero_is_refused_with_its_path(key: str, ids: object, tmp_path: Path) -> None:
    raw = json.loads(replace(MANIFEST, tokens=TokensEntry(2, (1, 106))).to_json())
    raw["tokens"][key] = ids
    with pytest.raises(ManifestError, match=rf"\$\.tokens\.{key}.*expected 0 or more, got -1"):
        read_manifest(written(raw, tmp_path))
