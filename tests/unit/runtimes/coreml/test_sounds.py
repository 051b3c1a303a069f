"""Apple's drivers of audio encoders and of prompts with sounds, without a Mac: what they feed Core ML.

Models are fakes that record their calls. Not asserted: that Core ML loads or runs a package, nor what it is
fed of images (test_images).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from runtimes.coreml.multimodal_session import RowFunctions
from runtimes.coreml.sound_encoder import CoreMlSoundEncoder
from runtimes.encoder import ArrayFacts, EncoderFacts
from runtimes.errors import ArtifactError, EncoderError
from runtimes.multimodal.session import PlacedRows
from runtimes.sounds.prepared import PreparedSound
from tests.unit.runtimes.coreml.test_images import SOFT, WIDTH, FakeDecoder, described, on_a_mac, session

MOST = 5


class FakeEncoder:
    """Rows are the first numbers of every fourth frame."""

    def __init__(self) -> None:
        self.calls: list[Mapping[str, Any]] = []

    def predict(self, data: Mapping[str, Any]) -> Mapping[str, Any]:
        self.calls.append(data)
        return {"soundRows": data["features"][:, ::4, :WIDTH]}


def encoder(model: FakeEncoder) -> CoreMlSoundEncoder:
    inputs = {"features": ArrayFacts((1, 4 * MOST, 8), np.dtype(np.float16))}
    outputs = {"soundRows": ArrayFacts((1, MOST, WIDTH), np.dtype(np.float32))}
    return CoreMlSoundEncoder(model, EncoderFacts("Core ML", "fake", "none", inputs, outputs))


def sound(frames: int, width: int = 8) -> PreparedSound:
    """Each frame has its number in it."""
    features = np.repeat(np.arange(frames, dtype=np.float32)[None, :, None], width, axis=-1)
    return PreparedSound(features, -(-frames // 4))


def test_a_sound_goes_to_the_encoder_as_long_as_it_is() -> None:
    model = FakeEncoder()
    with encoder(model) as opened:
        rows = opened.rows(sound(9))
    assert rows.dtype == np.float32
    assert rows.tolist() == [[0, 0], [4, 4], [8, 8]]
    (call,) = model.calls
    assert call["features"].dtype == np.float16
    assert call["features"].shape == (1, 9, 8)


def test_sounds_of_another_kind_or_length_are_refused() -> None:
    opened = encoder(FakeEncoder())
    with pytest.raises(
        EncoderError, match=r"a sound of \['features'\] and 6 soft tokens for an audio encoder"
    ):
        opened.rows(sound(21))
    with pytest.raises(
        EncoderError, match="whose features have 640 numbers each for an audio encoder of 8"
    ):
        opened.rows(sound(9, 640))
    with pytest.raises(EncoderError, match=r"returned soundRows \[1, 3, 2\] of a sound of 2 soft tokens"):
        opened.rows(PreparedSound(sound(9).features, 2))
    opened.close()
    with pytest.raises(EncoderError, match="closed"):
        opened.rows(sound(1))


def test_a_prompt_is_cut_within_a_sound_which_is_no_block() -> None:
    decoder = FakeDecoder()
    rows = np.arange(8, dtype=np.float32).reshape(4, WIDTH)
    tokens = np.array([1, SOFT, SOFT, SOFT, SOFT, 2], np.int32)
    opened = session(decoder, soft={"sound": SOFT})
    assert opened.prefill_with_rows(tokens, [PlacedRows(1, rows, "sound")])[:, 0].tolist() == [
        1,
        2,
        3,
        4,
        5,
        6,
    ]
    assert [call["inputEmbeds"][0, :, 0].tolist() for call in decoder.calls] == [[1, 0, 2], [4, 6, 2]]
    assert [call["imageBlocks"].any() for call in decoder.calls] == [False, False]


def hearing(name: str, *inputs: Any, **facts: str) -> Any:
    """A package's description with one decoder function."""
    metadata = SimpleNamespace(userDefined={f"gemma-export.{key}": each for key, each in facts.items()})
    return SimpleNamespace(functions=[SimpleNamespace(name=name, input=inputs)], metadata=metadata)


EMBEDDED = described("inputEmbeds", 1, 1, WIDTH)


def test_a_package_that_hears_alone_is_opened_by_its_function_for_sounds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded = on_a_mac(monkeypatch, hearing("sounds", EMBEDDED, audio_token="9"))
    functions = RowFunctions.load(Path("m.mlpackage"), "ALL")
    assert loaded == [("m.mlpackage", "embed"), ("m.mlpackage", "sounds")]
    assert (functions.soft, functions.width, functions.blocks) == ({"sound": 9}, WIDTH, False)


def test_a_package_that_sees_and_hears_has_one_function_for_both(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = on_a_mac(monkeypatch, hearing("images", EMBEDDED, image_token="8", audio_token="9"))
    assert RowFunctions.load(Path("m.mlpackage"), "ALL").soft == {"image": 8, "sound": 9}
    assert loaded[1] == ("m.mlpackage", "images")


def test_a_package_without_the_function_it_speaks_of_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    on_a_mac(monkeypatch, hearing("images", EMBEDDED, audio_token="9"))
    with pytest.raises(ArtifactError, match="its function sounds takes no inputEmbeds"):
        RowFunctions.load(Path("m.mlpackage"), "ALL")
