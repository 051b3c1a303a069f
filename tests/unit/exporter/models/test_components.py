"""A release that takes less than its checkpoint does says so; every other has nothing to say."""

from __future__ import annotations

from dataclasses import replace

from exporter.models.components import (
    AudioComponent,
    TextComponent,
    VisionComponent,
    text_alone,
    unused_tower,
)
from runtimes.manifest import EncoderArtifact
from tests.tiny import RandomSource, tiny_gemma3
from tests.tiny_encoders import TINY_ENCODERS
from tests.tiny_towers import TINY_TOWERS


def test_a_tower_in_no_file_is_said() -> None:
    text = text_alone(RandomSource(tiny_gemma3()).components["text"].spec)
    assert isinstance(text.text, TextComponent)
    seeing = replace(text, vision=VisionComponent(TINY_TOWERS["Gemma 3"]().spec))
    encoder = EncoderArtifact("vision", "onnx", "onnx/vision.onnx", "onnx/decoder.onnx", 4, 64)
    (said,) = unused_tower(seeing, ())
    assert said.startswith("It takes no images")
    assert unused_tower(seeing, (encoder,)) == ()
    both = replace(seeing, audio=AudioComponent(TINY_ENCODERS["Gemma 4 E2B"]().spec))
    (said,) = unused_tower(both, (encoder,))
    assert said.startswith("It takes no sounds")
    assert unused_tower(text, ()) == ()
