"""Keys of processors' files: all that transformers' own classes write is taken, and what nobody knows, or
what contradicts the encoder, is one error."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import pytest

from exporter.checkpoints.huggingface.processor_config import OF_WHOLE
from exporter.checkpoints.huggingface.source import HuggingFaceSource
from exporter.errors import SpecError
from exporter.models.audio.spec import AudioSpec, WaveformSpec
from tests.tiny_encoders import TINY_ENCODERS
from tests.tiny_image_stores import write_tiny_multimodal

E2B, UNIFIED, GEMMA3 = "Gemma 4 E2B", "Gemma 4 12B", "Gemma 3"
WHOLE, ALONE = "processor_config.json", "preprocessor_config.json"


def checkpoint(directory: Path, kind: str) -> Path:
    encoder = TINY_ENCODERS[kind]() if kind in TINY_ENCODERS else None
    return write_tiny_multimodal(directory / "checkpoint", kind, encoder=encoder)


def changed(path: Path, part: str | None, **values: Any) -> None:
    """part: of the file, None for all of it."""
    content = json.loads(path.read_bytes())
    (content if part is None else content[part]).update(values)
    path.write_text(json.dumps(content), encoding="utf-8")


def as_saved(processor: Any) -> dict[str, Any]:
    saved: dict[str, Any] = json.loads(processor.to_json_string())
    return saved


def extractor_as_saved(spec: AudioSpec) -> dict[str, Any]:
    from transformers import Gemma4AudioFeatureExtractor
    from transformers.models.gemma4_unified.feature_extraction_gemma4_unified import (
        Gemma4UnifiedAudioFeatureExtractor,
    )

    if isinstance(spec, WaveformSpec):
        taken = {"feature_size": spec.samples, "audio_samples_per_token": spec.samples}
        return as_saved(Gemma4UnifiedAudioFeatureExtractor(**taken))
    return as_saved(Gemma4AudioFeatureExtractor(feature_size=spec.bands))


@pytest.mark.parametrize("kind", TINY_ENCODERS)
def test_what_transformers_5_saves_is_read_as_what_is_published(tmp_path: Path, kind: str) -> None:
    from transformers.models.gemma4.image_processing_pil_gemma4 import Gemma4ImageProcessorPil

    path = checkpoint(tmp_path, kind)
    published = HuggingFaceSource.open(path)
    content = json.loads((path / WHOLE).read_bytes())
    name = content["image_processor"]["image_processor_type"]
    content["image_processor"] = as_saved(Gemma4ImageProcessorPil()) | {"image_processor_type": name}
    content["feature_extractor"] = extractor_as_saved(TINY_ENCODERS[kind]().spec)
    content["video_processor"] = {"video_processor_type": "Gemma4VideoProcessor", "fps": 1}
    (path / WHOLE).write_text(json.dumps(content), encoding="utf-8")
    saved = HuggingFaceSource.open(path)
    assert (saved.images, saved.sounds) == (published.images, published.sounds)


def test_what_transformers_saves_of_a_gemma_3_is_read_as_what_is_published(tmp_path: Path) -> None:
    from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil

    path = checkpoint(tmp_path, GEMMA3)
    published = HuggingFaceSource.open(path).images
    saved = as_saved(Gemma3ImageProcessorPil(size={"height": 112, "width": 112}))
    (path / ALONE).write_text(json.dumps(saved), encoding="utf-8")
    assert HuggingFaceSource.open(path).images == published
    of_4 = {"crop_size": None, "data_format": "channels_first", "device": None, "do_center_crop": None}
    of_4 |= {"do_pad": None, "input_data_format": None, "pan_and_scan_max_num_crops": None}
    changed(path / ALONE, None, **of_4, disable_grouping=None, return_tensors=None)
    assert HuggingFaceSource.open(path).images == published


def test_whatever_a_processor_of_these_families_is_made_with_is_known() -> None:
    from transformers import Gemma3Processor, Gemma4Processor
    from transformers.models.gemma4_unified.processing_gemma4_unified import Gemma4UnifiedProcessor

    for processor in (Gemma3Processor, Gemma4Processor, Gemma4UnifiedProcessor):
        made_with = inspect.signature(processor.__init__).parameters
        assert made_with.keys() - {"self", "tokenizer", "kwargs"} <= set(OF_WHOLE)


@pytest.mark.parametrize(
    ("kind", "part", "values", "said"),
    [
        (E2B, None, {"audio_token_rate": 25}, "unknown key 'audio_token_rate' in line 1"),
        (E2B, "image_processor", {"sharpen": True}, "unknown key 'sharpen' in line 1"),
        (E2B, "feature_extractor", {"window": "hamming"}, "unknown key 'window' in line 1"),
        (UNIFIED, "feature_extractor", {"denoise": True}, "unknown key 'denoise' in line 1"),
        (E2B, None, {"audio_ms_per_token": 80}, "is 80, and a soft token of this encoder is 40 ms"),
        (
            E2B,
            "feature_extractor",
            {"hop_length_ms": 20.0},
            "is 40, and a soft token of this encoder is 80",
        ),
        (UNIFIED, None, {"audio_ms_per_token": 40}, "is 40, and a soft token of this encoder is 6 ms"),
        (E2B, "feature_extractor", {"padding_side": "left"}, "expected 'right' or None, got 'left'"),
        (UNIFIED, "feature_extractor", {"padding_side": "left"}, "expected 'right' or None"),
        (E2B, "feature_extractor", {"frame_length": 400}, "is 400, and transformers computes 320 samples"),
        (E2B, "feature_extractor", {"fft_length": 1024}, "is 1024, and transformers computes 512"),
        (
            UNIFIED,
            "feature_extractor",
            {"feature_size": 640},
            "is 640, and config.json has audio_embed_dim",
        ),
        (E2B, "image_processor", {"do_convert_rgb": False}, "expected True or None, got False"),
        (E2B, "image_processor", {"data_format": "channels_last"}, "expected 'channels_first' or None"),
    ],
)
def test_a_key_that_is_unknown_or_contradicts_the_encoder_is_refused(
    tmp_path: Path, kind: str, part: str | None, values: dict[str, Any], said: str
) -> None:
    path = checkpoint(tmp_path, kind)
    changed(path / WHOLE, part, **values)
    with pytest.raises(SpecError) as caught:
        HuggingFaceSource.open(path)
    assert said in str(caught.value)
    assert WHOLE in str(caught.value.where)


def test_one_file_may_hold_the_settings_of_both_kinds_of_processors(tmp_path: Path) -> None:
    path = checkpoint(tmp_path, E2B)
    both = HuggingFaceSource.open(path)
    content = json.loads((path / WHOLE).read_bytes())
    together = content.pop("feature_extractor") | content.pop("image_processor")
    (path / WHOLE).write_text(json.dumps(content), encoding="utf-8")
    (path / ALONE).write_text(json.dumps(together), encoding="utf-8")
    found = HuggingFaceSource.open(path)
    assert (found.images, found.sounds) == (both.images, both.sounds)
