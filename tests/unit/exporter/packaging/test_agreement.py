"""A manifest that was changed and sealed again is held to the plan and to what its artifacts say.

Not about real runtimes: a driver stands in that says what the artifact was written with.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from exporter.checkpoints.interface import CheckpointSource
from exporter.formats.family import Driver
from exporter.models.components import Components, TextComponent, VisionComponent
from exporter.models.published import published_vision
from exporter.models.vision.spec import PatchTowerSpec
from exporter.packaging.agreement import (
    require_true_of_artifacts,
    require_true_of_images,
    require_true_of_plan,
    require_true_of_tokens,
)
from exporter.reference.texts import Texts
from runtimes.errors import ArtifactError, ManifestError, RuntimeUnavailable
from runtimes.images.processing import (
    PROCESSING_SCHEMA_VERSION,
    ImageMarks,
    ImageProcessing,
    PatchProcessing,
)
from runtimes.manifest import (
    Artifact,
    ComponentEntry,
    ComponentName,
    EncoderArtifact,
    FileEntry,
    Manifest,
    TokensEntry,
    read_manifest,
    sha256_of,
)
from runtimes.session import Session, SessionFacts
from tests.jobs import a_plan, a_variant
from tests.tiny import RandomSource, tiny_gemma3, write_tiny_tokenizer
from tests.unit.exporter.packaging.test_release import ONNX, sealed


class OpenedArtifact:
    """Facts of a session, and that it was closed."""

    def __init__(self) -> None:
        self.facts = SessionFacts("toy", "1", "fp32", 512, 64, 16, "last")

    def __enter__(self) -> OpenedArtifact:
        return self

    def __exit__(self, *exc: object) -> None:
        pass


def opening(what: OpenedArtifact | Exception) -> tuple[Driver, ...]:
    def open_it(release: Path, artifact: Artifact) -> Session:
        if isinstance(what, Exception):
            raise what
        return cast(Session, what)

    return (Driver("fp32", open_it, 0.0, 0.0, 0.0),)


@pytest.fixture
def release(tmp_path: Path) -> Path:
    return sealed(tmp_path)


def saying(release: Path, **changes: Any) -> Manifest:
    return replace(read_manifest(release), artifacts=(replace(ONNX, **changes),))


@pytest.mark.parametrize(
    ("key", "said", "found"),
    [
        ("context", 128, "64"),
        ("context", 2**40, "64"),
        ("vocab_size", 5, "512"),
        ("prefill_chunk", 10**6, "16"),
        ("prefill_logits", "all", "'last'"),
    ],
)
def test_an_artifact_is_what_it_says_when_opened(release: Path, key: str, said: object, found: str) -> None:
    message = f"$.artifacts[0].{key}: says {said!r}, and onnx/model.onnx has {found}; do not trust"
    with pytest.raises(ManifestError, match=re.escape(message)):
        require_true_of_artifacts(
            release, saying(release, **{key: said}), lambda _: opening(OpenedArtifact())
        )


def test_what_is_true_passes(release: Path) -> None:
    require_true_of_artifacts(release, saying(release), lambda _: opening(OpenedArtifact()))


@pytest.mark.parametrize("error", [ArtifactError("cut short"), RuntimeUnavailable("not installed")])
def test_what_cannot_be_opened_is_left_to_the_validation(release: Path, error: Exception) -> None:
    require_true_of_artifacts(release, saying(release, vocab_size=5), lambda _: opening(error))


def held_to_the_plan(release: Path, manifest: Manifest) -> None:
    source: CheckpointSource = RandomSource(tiny_gemma3())
    plan = a_plan(source, a_variant("int8", ("onnx", "coreml"), name="macos"))
    require_true_of_plan(release, manifest, source.components, plan)


def test_a_true_manifest_agrees_with_its_plan(release: Path) -> None:
    held_to_the_plan(release, read_manifest(release))


@pytest.mark.parametrize(
    ("part", "key", "said"),
    [
        ("plan", "schemes", {"int4": 3}),
        ("plan", "weight_bytes", 1),
        ("plan", "context", 32),
        ("model", "parameters", 2),
        ("model", "model_type", "gemma2"),
    ],
)
def test_another_plan_or_model_is_refused(release: Path, part: str, key: str, said: object) -> None:
    manifest = read_manifest(release)
    changes: dict[str, Any] = {part: {**getattr(manifest, part), key: said}}
    changed = replace(manifest, **changes)
    with pytest.raises(
        ManifestError, match=re.escape(f"$.{part}.{key}: says {said!r}, and the checkpoint")
    ):
        held_to_the_plan(release, changed)


def test_a_component_of_another_size_is_refused(release: Path) -> None:
    manifest = read_manifest(release)
    text = replace(manifest.components["text"], parameters=3)
    with pytest.raises(ManifestError, match=re.escape("$.components.text.parameters: says 3, and")):
        held_to_the_plan(release, replace(manifest, components={"text": text}))


def test_a_path_of_another_kind_is_refused(release: Path) -> None:
    with pytest.raises(ManifestError, match=re.escape("says 'report.html', and artifacts of format onnx")):
        held_to_the_plan(release, saying(release, path="report.html"))


MARKS = ImageMarks(500, 501, 502, line_breaks=False, placeholder="<|image|>")
SAID = ImageProcessing(PROCESSING_SCHEMA_VERSION, 70, MARKS, None, PatchProcessing(16, 3, merged=False))
PLACES = 256  # patches in a row: a picture of 70 squares has 210 at most, one of 140 has 420
TOWER = EncoderArtifact("vision", "onnx", "onnx/vision.onnx", "onnx/decoder.onnx", 70, 64)


def seeing(release: Path, **changes: Any) -> Manifest:
    return replace(read_manifest(release), encoders=(replace(TOWER, **changes),))


def source_that_sees() -> RandomSource:
    """Its processor makes more of an image than the release asks for."""
    source = RandomSource(tiny_gemma3(), images=replace(SAID, soft_tokens=280))
    tower = published_vision("gemma-4-e2b")
    assert isinstance(tower, PatchTowerSpec)
    seen_by = VisionComponent(replace(tower, positions=PLACES))
    components = Components(TextComponent(source.components["text"].spec), seen_by)
    object.__setattr__(source, "components", components)
    return source


def test_a_component_the_checkpoint_does_not_have_is_refused(release: Path) -> None:
    manifest = read_manifest(release)
    both: dict[ComponentName, ComponentEntry] = {
        **manifest.components,
        "vision": manifest.components["text"],
    }
    with pytest.raises(ManifestError, match=re.escape("$.components: says 'text, vision', and the check")):
        held_to_the_plan(release, replace(manifest, components=both))


def test_what_is_true_of_images_passes(release: Path) -> None:
    require_true_of_images(release, seeing(release), SAID, source_that_sees())


def test_pictures_prepared_otherwise_than_the_checkpoint_says_are_refused(release: Path) -> None:
    other = replace(SAID, patches=PatchProcessing(14, 3, merged=False))
    with pytest.raises(ManifestError, match=r"image_processing\.json: is not what the checkpoint's own"):
        require_true_of_images(release, seeing(release), other, source_that_sees())
    with pytest.raises(ManifestError, match="is not what the checkpoint's own"):
        require_true_of_images(release, seeing(release), SAID, RandomSource(tiny_gemma3()))


def test_the_end_of_the_position_tables_is_said_where_a_picture_can_go_beyond_it(release: Path) -> None:
    assert SAID.patches is not None
    more = replace(SAID, soft_tokens=140)
    ending = replace(more, patches=replace(SAID.patches, places=PLACES))
    manifest = seeing(release, soft_tokens=140)
    require_true_of_images(release, manifest, ending, source_that_sees())
    with pytest.raises(ManifestError, match="is not what the checkpoint's own"):
        require_true_of_images(release, manifest, more, source_that_sees())


@pytest.mark.parametrize(("key", "said", "found"), [("soft_tokens", 280, "70"), ("width", 32, "64")])
def test_a_tower_of_other_rows_is_refused(release: Path, key: str, said: int, found: str) -> None:
    message = f"$.encoders[0].{key}: says {said}, and the checkpoint comes to {found}"
    with pytest.raises(ManifestError, match=re.escape(message)):
        require_true_of_images(release, seeing(release, **{key: said}), SAID, source_that_sees())


SOURCE = RandomSource(tiny_gemma3())
TOKENS = TokensEntry(SOURCE.tokens.bos_token, SOURCE.tokens.stop_tokens)


def with_tokenizers(release: Path, tokens: TokensEntry | None = TOKENS) -> Manifest:
    """Two copies of the checkpoint's, listed as they lie there."""
    manifest = read_manifest(release)
    write_tiny_tokenizer(release)
    write_tiny_tokenizer(release / "onnx")
    return replace(manifest, tokens=tokens, files=manifest.files + listed(release))


def listed(release: Path) -> tuple[FileEntry, ...]:
    paths = (release / "tokenizer.json", release / "onnx" / "tokenizer.json")
    return tuple(
        FileEntry(each.relative_to(release).as_posix(), each.stat().st_size, sha256_of(each))
        for each in paths
    )


def held_to_the_tokens(release: Path, manifest: Manifest) -> None:
    require_true_of_tokens(release, manifest, SOURCE, Texts.of(SOURCE))


@pytest.mark.parametrize("tokens", [TOKENS, None])
def test_the_checkpoints_own_tokens_pass(release: Path, tokens: TokensEntry | None) -> None:
    held_to_the_tokens(release, with_tokenizers(release, tokens))


@pytest.mark.parametrize(
    ("said", "key"),
    [
        (replace(TOKENS, bos_token=9), "bos_token"),
        (replace(TOKENS, stop_tokens=(7,)), "stop_tokens"),
        (replace(TOKENS, stop_tokens=TOKENS.stop_tokens[:1]), "stop_tokens"),
    ],
)
def test_other_tokens_than_the_checkpoints_are_untrue(release: Path, said: TokensEntry, key: str) -> None:
    with pytest.raises(ManifestError, match=rf"\$\.tokens\.{key}: says .*, and the checkpoint has"):
        held_to_the_tokens(release, with_tokenizers(release, said))


@pytest.mark.parametrize("place", ["tokenizer.json", "onnx/tokenizer.json"])
@pytest.mark.parametrize(("one", "other"), [("<0x61>", "<0x62>"), ("<unused400>", "<unused401>")])
def test_another_tokenizer_that_was_sealed_is_untrue(
    release: Path, place: str, one: str, other: str
) -> None:
    manifest = with_tokenizers(release)
    tokenizer = json.loads((release / place).read_bytes())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary[one], vocabulary[other] = vocabulary[other], vocabulary[one]
    (release / place).write_text(json.dumps(tokenizer), encoding="utf-8")
    held_to_the_tokens(release, manifest)  # told of with the files, whose digests it has not
    sealed_again = replace(manifest, files=manifest.files[:-2] + listed(release))
    with pytest.raises(ManifestError, match=rf"{place}: is not the checkpoint's tokenizer; do not trust"):
        held_to_the_tokens(release, sealed_again)


def test_a_tokenizer_that_splits_otherwise_by_the_same_vocabulary_is_untrue(release: Path) -> None:
    manifest = with_tokenizers(release)
    tokenizer = json.loads((release / "tokenizer.json").read_bytes())
    tokenizer["normalizer"] = {"type": "Lowercase"}
    (release / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    sealed_again = replace(manifest, files=manifest.files[:-2] + listed(release))
    with pytest.raises(ManifestError, match="is not the checkpoint's tokenizer"):
        held_to_the_tokens(release, sealed_again)
