"""transformers.js answering about a WAV in Node, by its own processor and class, against transformers.

Matrix: tiny Gemma 4 E2B in int8, that sees and hears, and that hears alone; a sound, and a sound behind a
picture. The reference is given transformers.js' own spectra, pixels and tokens (it puts blank lines around
sounds, which transformers does not); the spectra are held against transformers' own. Not asserted:
browsers; several sounds, which it does not take in one prompt.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from exporter.reference.reference_tower import ReferenceTower
from runtimes.images.prepared import PreparedImage
from runtimes.multimodal.session import PlacedRows
from runtimes.sounds.prepared import PreparedSound
from runtimes.sounds.preparing import prepared_sound
from tests.parity.test_onnx_genai_images import drawn, quieten
from tests.parity.test_onnx_genai_sounds import RATE, chirp
from tests.reference_answers import likeliest
from tests.tiny import name_unused
from tests.tiny_encoders import SOUND_SOFT, tiny_conformer
from tests.tiny_image_stores import write_tiny_multimodal
from tests.tiny_towers import SOFT
from tests.unit.exporter.lowering.onnx.hearing_releases import HearingRelease, hearing_release
from tests.web_answers import answer_in_node
from tests.web_engines import require

ANSWERED, KIND = 12, "Gemma 4 E2B"
SPECTRA = 2e-3  # max abs, of logarithms: it has doubles where transformers has floats, seen in near silence


@pytest.fixture(scope="module", params=[True, False], ids=["sees and hears", "hears"])
def release(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> HearingRelease:
    require("node")
    directory = tmp_path_factory.mktemp("web")
    checkpoint = write_tiny_multimodal(directory / "checkpoint", KIND, encoder=tiny_conformer())
    quieten(checkpoint / "model.safetensors")
    name_unused(checkpoint, {300: "\n\n", 301: "<what>"})
    changes = {"context": 160, "tokenizer": checkpoint, "prefill_logits": "last"}
    return hearing_release(directory, KIND, "onnx-web", images=request.param, **changes)


def answered(release: HearingRelease, scratch: Path, picture: bool) -> dict[str, Any]:
    sound = scratch / "chirp.wav"
    soundfile.write(sound, chirp(), RATE, subtype="PCM_16")
    given = {
        "prompt": f"{'<|image|>' if picture else ''}<what><|audio|><what>",
        "sound": str(sound),
        "pictures": [str(drawn(scratch))] if picture else [],
        "gemma4": True,
        "new_tokens": ANSWERED,
    }
    return answer_in_node(release.directory, scratch, given)


def array(found: dict[str, Any]) -> Any:
    return np.array(found["values"], np.float32).reshape(found["shape"])


def heard(found: dict[str, Any]) -> PreparedSound:
    """What its processor made, without padding."""
    mask = array(found["heard"])[0] > 0
    assert mask[: mask.sum()].all()
    return PreparedSound(array(found["spectrum"])[:, mask], found["tokens"].count(SOUND_SOFT))


def seen(found: dict[str, Any]) -> PreparedImage:
    positions = array(found["positions"]).astype(np.int32)
    there = positions[0, :, 0] >= 0
    return PreparedImage(array(found["pixels"])[:, there], positions[:, there], there.sum() // 9)


def reference_answer(
    release: HearingRelease, found: dict[str, Any], scratch: Path, factor: float
) -> list[int]:
    """transformers' likeliest token where transformers.js gave each of its own; a sound's rows times a
    factor."""
    rows = ReferenceTower(release.weights, release.spec).rows(heard(found)) * np.float32(factor)
    placed = [PlacedRows(found["tokens"].index(SOUND_SOFT), rows, "sound")]
    if found["pixels"] is not None:
        tower = ReferenceTower(release.weights, release.checkpoint.components["vision"].spec)
        placed.append(PlacedRows(found["tokens"].index(SOFT), tower.rows(seen(found))))
    return likeliest(release.weights, found["sequence"], len(found["tokens"]), placed, scratch)


def test_transformers_js_answers_about_a_sound_what_transformers_does(
    release: HearingRelease, tmp_path: Path
) -> None:
    for picture in {False, "vision" in release.towers}:
        found = answered(release, tmp_path, picture)
        answer = found["sequence"][len(found["tokens"]) :]
        assert len(answer) == ANSWERED
        assert len(set(answer)) > 2, "an answer of one word would prove nothing"
        assert answer == reference_answer(release, found, tmp_path, 1.0)
        assert answer != reference_answer(release, found, tmp_path, 0.0)


def test_its_spectra_are_those_of_transformers(release: HearingRelease, tmp_path: Path) -> None:
    found = heard(answered(release, tmp_path, picture=False))
    samples, _ = soundfile.read(tmp_path / "chirp.wav", dtype="float32")  # rounded to 16 bits
    expected = prepared_sound(samples, release.processing)
    assert found.soft_tokens == expected.soft_tokens
    assert np.abs(found.features - expected.features).max() < SPECTRA
