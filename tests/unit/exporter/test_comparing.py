"""What may be compared beside what: stores of a checkpoint's text, and of its text and tower."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest

from exporter import comparing
from exporter.checkpoints.huggingface.source import HuggingFaceSource
from exporter.comparing import CompareOrder, compare, parameters_in
from exporter.errors import ReleaseError, UsageError
from exporter.models.components import TEXT_ALONE
from exporter.quantization.quantize import write_quantized
from exporter.schemes import INT8_CHANNEL
from runtimes.manifest import EncoderArtifact, read_manifest
from tests.fakes import silent
from tests.scripted_media import seeing_release
from tests.tiny import RandomSource, tiny_gemma3
from tests.tiny_image_stores import tiny_image_store, write_tiny_multimodal
from tests.unit.exporter.packaging.test_release import sealed


class AllOfOne(Exception):
    """What was given was found to be of one checkpoint."""


@pytest.fixture(autouse=True)
def no_further(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(*_: object) -> NoReturn:
        raise AllOfOne

    monkeypatch.setattr(comparing, "read_domains", found)


def text_alone(checkpoint: Path, directory: Path) -> Path:
    source = HuggingFaceSource.open(checkpoint, TEXT_ALONE)
    matrices = [weight.name for weight in source.components["text"].weights if weight.is_matrix]
    return write_quantized(source, dict.fromkeys(matrices, INT8_CHANNEL), directory, silent).directory


def test_text_and_tower_are_compared_beside_text_alone(tmp_path: Path) -> None:
    seeing = tiny_image_store(tmp_path, "Gemma 3").directory
    text = text_alone(tmp_path / "checkpoint", tmp_path / "text")
    with pytest.raises(AllOfOne):
        compare(CompareOrder((seeing, text), str(tmp_path / "checkpoint")), silent)


def test_a_store_of_another_checkpoint_that_sees_is_refused(tmp_path: Path) -> None:
    seeing = tiny_image_store(tmp_path, "Gemma 3").directory
    other = write_tiny_multimodal(tmp_path / "other", "Gemma 4 E2B")
    with pytest.raises(UsageError, match="was not made from"):
        compare(CompareOrder((seeing,), str(other)), silent)


@pytest.mark.parametrize("change", [Path.unlink, lambda file: file.write_bytes(b"other weights")])
def test_an_artifact_that_was_changed_since_it_was_sealed_is_not_measured(
    change: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    release, source = sealed(tmp_path), RandomSource(tiny_gemma3())
    monkeypatch.setattr(comparing, "open_checkpoint", lambda *_: source)
    with pytest.raises(AllOfOne):
        compare(CompareOrder((release,)), silent)
    change(release / read_manifest(release).artifacts[0].path)
    with pytest.raises(ReleaseError, match="copy the release again"):
        compare(CompareOrder((release,)), silent)


def test_a_bundle_has_the_weights_of_both_and_a_file_beside_the_tower_its_own(tmp_path: Path) -> None:
    manifest = read_manifest(seeing_release(tmp_path))
    bundle = EncoderArtifact("vision", "litertlm", "model.litertlm", "model.litertlm", 4, 64)
    both = replace(manifest, encoders=(*(manifest.encoders or ()), bundle))
    source = HuggingFaceSource.open(write_tiny_multimodal(tmp_path / "checkpoint", "Gemma 3"))
    text, tower = source.components["text"].spec, source.components["vision"].spec
    assert parameters_in("onnx/model.onnx", both, source.components) == text.parameter_count()
    assert parameters_in("model.litertlm", both, source.components) == (
        text.parameter_count() + tower.parameter_count()
    )
