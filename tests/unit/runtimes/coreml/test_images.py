"""Apple's drivers of image towers and of prompts with images, without a Mac: what they feed Core ML.

Models are fakes that record their calls. Not asserted: that Core ML loads or runs a package.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from runtimes.coreml.image_encoder import CoreMlImageEncoder
from runtimes.coreml.multimodal_session import CoreMlMultimodalSession, RowFunctions
from runtimes.encoder import ArrayFacts, EncoderFacts
from runtimes.errors import ArtifactError, EncoderError, SessionError
from runtimes.images.prepared import PreparedImage
from runtimes.manifest import Artifact, EncoderArtifact
from runtimes.multimodal.placing import SoftTokens
from runtimes.multimodal.session import MultimodalSession, PlacedRows
from runtimes.session import SessionFacts
from tests.refused_calls import check_refusals

VOCAB, CONTEXT, CHUNK, WIDTH, SOFT = 7, 16, 3, 2, 6
TOKENS = np.array([1, 6, 6, 6, 6, 2], np.int32)
ROWS = np.full((4, WIDTH), 0.5, np.float32)


class FakeTower:
    """Rows are means of the patches of each square."""

    def __init__(self) -> None:
        self.calls: list[Mapping[str, Any]] = []

    def predict(self, data: Mapping[str, Any]) -> Mapping[str, Any]:
        self.calls.append(data)
        squares = data["pixels"][0].reshape(-1, 9, data["pixels"].shape[-1])
        return {"imageRows": squares.mean(1, keepdims=False)[None, :, :WIDTH]}


class FakeDecoder:
    """Logits count the tokens seen through the state."""

    def __init__(self) -> None:
        self.calls: list[Mapping[str, Any]] = []

    def make_state(self) -> list[int]:
        return []

    def predict(self, data: Mapping[str, Any], state: Any) -> Mapping[str, Any]:
        self.calls.append(data)
        count = data["inputEmbeds"].shape[1]
        state += [0] * count
        assert data["causalMask"].shape == (1, 1, count, len(state))
        counts = np.arange(len(state) - count, len(state)) + 1.0
        return {"logits": np.repeat(counts[None, :, None], VOCAB, axis=2).astype(np.float16)}


class FakeLookup:
    def predict(self, data: Mapping[str, Any]) -> Mapping[str, Any]:
        ids = data["inputIds"][..., None].astype(np.float32)
        return {"inputEmbeds": np.repeat(ids, WIDTH, -1), "perLayerRows": ids[..., None] * 10}


def session(
    decoder: FakeDecoder, blocks: bool = True, soft: SoftTokens | None = None
) -> CoreMlMultimodalSession:
    """soft: None for images alone."""
    facts = SessionFacts("Core ML", "fake", "none", VOCAB, CONTEXT, CHUNK, "all")
    return CoreMlMultimodalSession(
        RowFunctions(FakeLookup(), decoder, soft or {"image": SOFT}, WIDTH, blocks), facts
    )


def encoder(tower: FakeTower) -> CoreMlImageEncoder:
    inputs = {
        "pixels": ArrayFacts((1, 27, 5), np.dtype(np.float16)),
        "positions": ArrayFacts((1, 27, 2), np.dtype(np.int32)),
    }
    outputs = {"imageRows": ArrayFacts((1, 3, WIDTH), np.dtype(np.float32))}
    return CoreMlImageEncoder(tower, EncoderFacts("Core ML", "fake", "none", inputs, outputs))


def picture(squares: int) -> PreparedImage:
    """Squares of 3 x 3 patches side by side; each patch has the number of its square in it."""
    y, x = np.mgrid[:3, : 3 * squares].reshape(2, -1)
    pixels = np.repeat((x // 3)[None, :, None], 5, axis=-1).astype(np.float32)
    return PreparedImage(pixels, np.stack([x, y], -1)[None].astype(np.int32), squares)


def test_patches_go_to_the_tower_square_by_square() -> None:
    tower = FakeTower()
    with encoder(tower) as opened:
        rows = opened.rows(picture(2))
    assert rows.dtype == np.float32
    assert rows.tolist() == [[0, 0], [1, 1]]
    (call,) = tower.calls
    assert {name: each.dtype.name for name, each in call.items()} == {
        "pixels": "float16",
        "positions": "int32",
    }


def test_pictures_of_another_kind_or_size_are_refused() -> None:
    opened = encoder(FakeTower())
    with pytest.raises(EncoderError, match=r"4 soft tokens for an image tower of .* and 3; prepare it"):
        opened.rows(picture(4))
    with pytest.raises(EncoderError, match=r"a picture of \['pixels'\]"):
        opened.rows(PreparedImage(np.zeros((1, 3, 8, 8), np.float32), None, 2))
    opened.close()
    with pytest.raises(EncoderError, match="closed"):
        opened.rows(picture(1))


def test_a_prompt_is_cut_around_its_image_whose_rows_and_block_it_gets() -> None:
    decoder = FakeDecoder()
    opened: MultimodalSession = session(decoder)
    logits = opened.prefill_with_rows(TOKENS, [PlacedRows(1, ROWS)])
    assert logits[:, 0].tolist() == [1, 2, 3, 4, 5, 6]
    assert opened.decode(3)[0] == 7
    assert [call["imageBlocks"].tolist() for call in decoder.calls] == [
        [[0]],
        [[0, 1, 1, 1, 1]],
        [[0] * 6],
        [[0] * 7],
    ]
    assert [call["inputEmbeds"][0, :, 0].tolist() for call in decoder.calls] == [[1], [0.5] * 4, [2], [3]]
    assert decoder.calls[1]["perLayerRows"].ravel().tolist() == [0] * 4
    assert all(call[name].dtype == np.float16 for call in decoder.calls for name in ("inputEmbeds",))


def test_a_decoder_without_blocks_gets_none() -> None:
    decoder = FakeDecoder()
    session(decoder, blocks=False).prefill(np.array([1, 2], np.int32))
    assert decoder.calls[0].keys() == {"inputEmbeds", "perLayerRows", "causalMask"}


def test_images_that_do_not_fit_the_tokens_are_refused() -> None:
    opened = session(FakeDecoder())
    with pytest.raises(SessionError, match="image 0"):
        opened.prefill_with_rows(TOKENS, [PlacedRows(2, ROWS)])
    assert opened.position == 0


def test_what_is_no_token_is_refused_in_every_driver_s_words() -> None:
    check_refusals(session(FakeDecoder()))


ARTIFACT = Artifact("text", "coreml", "model.mlpackage", CONTEXT, VOCAB, CHUNK, "all")
TOWER = EncoderArtifact("vision", "coreml", "vision.mlpackage", "model.mlpackage", 3, WIDTH)


def described(name: str, *shape: int) -> Any:
    return SimpleNamespace(name=name, type=SimpleNamespace(multiArrayType=SimpleNamespace(shape=shape)))


def on_a_mac(monkeypatch: pytest.MonkeyPatch, description: Any) -> list[tuple[str, Any]]:
    """Packages load with this description; what was loaded is recorded."""
    loaded: list[tuple[str, Any]] = []

    def load(path: str, compute_units: str, function_name: str | None = None) -> Any:
        loaded.append((path, function_name))
        spec = SimpleNamespace(description=description)
        return SimpleNamespace(get_spec=lambda: spec, make_state=list)

    module = types.ModuleType("coremltools")
    vars(module).update(
        __version__="9.0", models=SimpleNamespace(MLModel=load), ComputeUnit={"ALL": "everything"}
    )
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setitem(sys.modules, "coremltools", module)
    return loaded


def test_both_functions_of_the_package_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    images = SimpleNamespace(
        name="images", input=[described("inputEmbeds", 1, 1, WIDTH), described("imageBlocks", 1, 1)]
    )
    metadata = SimpleNamespace(userDefined={"gemma-export.image_token": str(SOFT)})
    loaded = on_a_mac(monkeypatch, SimpleNamespace(functions=[images], metadata=metadata))
    functions = RowFunctions.load(Path("m.mlpackage"), "ALL")
    assert loaded == [("m.mlpackage", "embed"), ("m.mlpackage", "images")]
    assert (functions.soft, functions.width, functions.blocks) == ({"image": SOFT}, WIDTH, True)
    assert CoreMlMultimodalSession.open(Path("m.mlpackage"), ARTIFACT).facts.context == CONTEXT


def test_a_package_of_text_alone_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    on_a_mac(monkeypatch, SimpleNamespace(functions=[], metadata=SimpleNamespace(userDefined={})))
    with pytest.raises(ArtifactError, match=r"m\.mlpackage: takes text alone"):
        CoreMlMultimodalSession.open(Path("m.mlpackage"), ARTIFACT)


def test_a_tower_says_what_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    given = [described("pixels", 1, 27, 768), described("positions", 1, 27, 2)]
    on_a_mac(monkeypatch, SimpleNamespace(input=given))
    with CoreMlImageEncoder.open(Path("v.mlpackage"), TOWER) as opened:
        assert {name: str(each) for name, each in opened.facts.inputs.items()} == {
            "pixels": "float16[1, 27, 768]",
            "positions": "int32[1, 27, 2]",
        }
        assert str(opened.facts.outputs["imageRows"]) == "float32[1, 3, 2]"
