"""Checkpoints that hear: their encoder's tensors, how sounds are prepared, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exporter.checkpoints.huggingface.source import HuggingFaceSource
from exporter.errors import CheckpointError, SpecError
from runtimes.sounds.processing import SampleProcessing, SpectrumProcessing
from tests.tiny_encoders import SOUND_BEGIN, SOUND_END, SOUND_SOFT, TINY_ENCODERS
from tests.tiny_image_stores import tiny_image_store, write_tiny_multimodal
from tests.tiny_towers import SOFT

E2B, UNIFIED = "Gemma 4 E2B", "Gemma 4 12B"


def checkpoint(directory: Path, kind: str = E2B) -> Path:
    return write_tiny_multimodal(directory / "checkpoint", kind, encoder=TINY_ENCODERS[kind]())


def edited(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_bytes())
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


@pytest.mark.parametrize("kind", TINY_ENCODERS)
def test_an_encoders_weights_are_read_as_transformers_has_them(tmp_path: Path, kind: str) -> None:
    source = HuggingFaceSource.open(checkpoint(tmp_path, kind))
    encoder = TINY_ENCODERS[kind]()
    assert source.components["audio"].spec == encoder.spec
    for weight in encoder.spec.weights():
        found = source.rows(weight.name, 0, weight.shape[0])
        assert np.array_equal(found, encoder.weights[weight.name].numpy()), weight.name
    assert not any("audio" in part for part in source.left_out)


def test_how_sounds_are_prepared_is_read_from_the_processors_file(tmp_path: Path) -> None:
    sounds = HuggingFaceSource.open(checkpoint(tmp_path)).sounds
    assert sounds is not None
    assert sounds.spectrum == SpectrumProcessing(320, 160, 512, 160, 32, 0.0, 8000.0, 1e-3, 4)
    assert (sounds.sampling_rate, sounds.soft_tokens, sounds.longest) == (16_000, 750, 30.0)
    marks = sounds.marks
    assert (marks.soft, marks.begin, marks.end) == (SOUND_SOFT, SOUND_BEGIN, SOUND_END)
    assert marks.placeholder == "<|audio|>"


def test_the_12b_takes_samples_as_they_are(tmp_path: Path) -> None:
    sounds = HuggingFaceSource.open(checkpoint(tmp_path, UNIFIED)).sounds
    assert sounds is not None
    assert (sounds.spectrum, sounds.samples) == (None, SampleProcessing(96))


def test_a_component_that_is_not_wanted_is_left_out_by_name(tmp_path: Path) -> None:
    source = HuggingFaceSource.open(checkpoint(tmp_path), ("text", "vision"))
    assert (source.components.audio, source.sounds) == (None, None)
    assert any(part.startswith("audio tower") for part in source.left_out)
    alone = HuggingFaceSource.open(tmp_path / "checkpoint", ("text", "audio"))
    assert tuple(alone.components) == ("text", "audio")
    assert alone.images is None


def test_without_a_word_on_sounds_transformers_own_extractor_counts(tmp_path: Path) -> None:
    path = checkpoint(tmp_path)
    edited(path / "processor_config.json", lambda content: content.pop("feature_extractor"))
    source = HuggingFaceSource.open(path)
    assert source.sounds is not None
    assert any("does not say how sounds are prepared" in remark for remark in source.remarks)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("feature_size", 80, "is 80, and config.json has subsampling_conv_channels"),
        ("preemphasis", 0.97, "preemphasis"),
        ("dither", 1e-4, "dither"),
        ("per_bin_mean", [0.0], "per_bin_mean"),
        ("max_frequency", 9000.0, "is 9000 Hz, and bands go from 0 to 8000"),
        ("sampling_rate", 0, "expected a positive integer, got 0"),
        ("mel_floor", 0.0, "is 0, whose logarithm"),
        ("frame_length_ms", 0.01, "no frame or no step is a sample long"),
        ("feature_extractor_type", "WhisperFeatureExtractor", "WhisperFeatureExtractor"),
        ("sampling_rate", 10**9, "no more than 192,000 samples a second are read"),
        ("frame_length_ms", 1e308, "is 1e+308 ms, and 16,384 samples are the most there can be"),
        ("hop_length_ms", 1e4, "is 10000 ms, and 16,384 samples are the most there can be"),
        (
            "hop_length_ms",
            50.0,
            "comes to what sound_processing.json cannot hold ($.soft_tokens: last more",
        ),
        ("mel_floor", 1e9, "comes to what sound_processing.json cannot hold ($.spectrum.floor"),
    ],
)
def test_an_extractor_that_does_otherwise_is_refused(
    tmp_path: Path, key: str, value: object, said: str
) -> None:
    path = checkpoint(tmp_path)
    settings = path / "processor_config.json"
    edited(settings, lambda content: content["feature_extractor"].update({key: value}))
    with pytest.raises(SpecError) as caught:
        HuggingFaceSource.open(path)
    assert said in str(caught.value)
    assert "feature_extractor" in str(caught.value)


@pytest.mark.parametrize("kind", TINY_ENCODERS)
def test_more_soft_tokens_than_a_release_can_say_are_refused_before_any_work(
    tmp_path: Path, kind: str
) -> None:
    path = checkpoint(tmp_path, kind)
    edited(path / "processor_config.json", lambda content: content.update(audio_seq_length=10**9))
    with pytest.raises(SpecError, match=r"cannot hold \(\$\.soft_tokens"):
        HuggingFaceSource.open(path)


@pytest.mark.parametrize("kind", TINY_ENCODERS)
@pytest.mark.parametrize("most", [1, 3])
def test_too_few_soft_tokens_to_hear_anything_by_are_refused(tmp_path: Path, kind: str, most: int) -> None:
    path = checkpoint(tmp_path, kind)
    settings = path / "processor_config.json"
    edited(settings, lambda content: content.update(audio_seq_length=most))
    with pytest.raises(
        SpecError, match=f"is {most}, and a sound of 4 soft tokens is the shortest"
    ) as caught:
        HuggingFaceSource.open(path)
    assert caught.value.where == f"{settings}.audio_seq_length"
    assert "audio" not in HuggingFaceSource.open(path, ("text", "vision")).components
    edited(settings, lambda content: content.update(audio_seq_length=4))
    sounds = HuggingFaceSource.open(path).sounds
    assert sounds is not None
    assert sounds.soft_tokens == 4


def test_a_token_for_images_and_for_sounds_is_refused_unless_sounds_are_left_out(tmp_path: Path) -> None:
    path = checkpoint(tmp_path)
    edited(path / "config.json", lambda content: content.update(boa_token_id=SOFT))
    with pytest.raises(SpecError, match=f"has token {SOFT} for images and for sounds"):
        HuggingFaceSource.open(path)
    assert HuggingFaceSource.open(path, ("text", "vision")).components.audio is None


@pytest.mark.parametrize(
    ("key", "token", "what"),
    [
        ("audio_token_id", 2, "has token 2 for sounds, and it is the beginning of a text"),
        ("boa_token_id", 1, "for sounds, and it is the end of a text"),
        ("eoa_token_index", 4, "for sounds, and it is one that the chat template puts around text"),
        ("image_token_id", 5, "for images, and it is one that ends an answer"),
        ("boi_token_id", 1, "for images, and it is the end of a text"),
        ("eoi_token_id", SOFT, "three ids that differ are wanted"),
        ("boa_token_id", SOUND_SOFT, "three ids that differ are wanted"),
        ("audio_token_id", 10**6, "is outside 512 tokens"),
        ("audio_token_id", -1, "expected a positive integer, got -1"),
        ("image_token_id", 0, "expected a positive integer, got 0"),
    ],
)
def test_a_token_of_images_or_sounds_is_one_of_nothing_else(
    tmp_path: Path, key: str, token: int, what: str
) -> None:
    path = checkpoint(tmp_path)
    edited(path / "config.json", lambda content: content.update({key: token}))
    with pytest.raises(SpecError, match=what) as caught:
        HuggingFaceSource.open(path)
    assert "config.json" in str(caught.value.where)


def test_an_encoder_of_another_size_than_config_json_says_is_refused(tmp_path: Path) -> None:
    path = checkpoint(tmp_path)
    edited(path / "config.json", lambda content: content["audio_config"].update(conv_kernel_size=7))
    with pytest.raises(CheckpointError, match="depthwise_conv1d"):
        HuggingFaceSource.open(path)


@pytest.mark.parametrize("kind", TINY_ENCODERS)
def test_a_store_holds_the_encoder_beside_text_and_tower(tmp_path: Path, kind: str) -> None:
    store = tiny_image_store(tmp_path, kind, sound=True)
    stored, encoder = store.components["audio"], TINY_ENCODERS[kind]()
    assert stored.spec == encoder.spec
    schemes = {matrix.scheme.name for matrix in stored.matrices.values()}
    assert schemes == ({"int8-channel", "fp16"} if kind == E2B else {"int8-channel"})
    for name, vector in stored.vectors.items():
        assert np.array_equal(vector, encoder.weights[name].numpy()), name
    assert [each.component.name for each in store.towers] == ["vision", "audio"]
