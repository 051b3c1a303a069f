"""ONNX graphs for sounds: where their weights lie, what is read back of them, what clients see of them."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from exporter.errors import LoweringError
from exporter.lowering.interface import RefusesMedia, SoundOrder
from exporter.lowering.onnx.lowering import OnnxLowering
from runtimes.errors import ArtifactError, EncoderError, SessionError
from runtimes.formats import Format
from runtimes.multimodal.session import PlacedRows
from runtimes.open import open_image_encoder, open_multimodal_session, open_sound_encoder
from runtimes.sounds.prepared import PreparedSound
from tests.heard_sounds import LONGEST, sound
from tests.sound_processing import SPECTRUM, pieces, spectra
from tests.tiny_encoders import SOUND_SOFT, TINY_ENCODERS
from tests.tiny_releases import some_tokens
from tests.tiny_towers import SOFT
from tests.unit.exporter.lowering.onnx.hearing_releases import HearingRelease, hearing_release
from tests.unit.exporter.lowering.onnx.seeing_releases import require_all_back

LOWERING = OnnxLowering(frozenset({"onnx"}))


@pytest.fixture(scope="module", params=TINY_ENCODERS)
def release(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> HearingRelease:
    directory = tmp_path_factory.mktemp("hearing")
    return hearing_release(directory, request.param, prefill_logits="last")


def graphs_of(release: Path) -> set[str]:
    return {path.name for path in (release / "onnx").glob("*.onnx")}


def test_a_release_of_images_and_sounds_has_a_graph_of_each(release: HearingRelease) -> None:
    names = {"model.onnx", "embedding.onnx", "decoder.onnx", "vision.onnx", "speech.onnx"}
    assert graphs_of(release.directory) == names
    assert release.encoder.path == "onnx/speech.onnx"
    assert release.encoder.decoder == "onnx/decoder.onnx"
    assert (release.encoder.soft_tokens, release.encoder.width) == (LONGEST, 64)


@pytest.mark.parametrize("format", ["onnx", "onnx-web"])
def test_a_release_may_hear_and_not_see(format: Format, tmp_path: Path) -> None:
    hearing = hearing_release(tmp_path, "Gemma 4 E2B", format, images=False)
    assert hearing.towers.keys() == {"audio"}
    with open_sound_encoder(hearing.opening) as encoder:
        rows = encoder.rows(sound(hearing.spec))
    tokens = some_tokens(30).copy()
    tokens[4:15] = SOUND_SOFT
    with open_multimodal_session(hearing.opening) as session:
        session.prefill_with_rows(tokens, [PlacedRows(4, rows, "sound")])
        session.reset()
        tokens[4:15] = SOFT
        with pytest.raises(SessionError, match="takes no images"):
            session.prefill_with_rows(tokens, [PlacedRows(4, rows)])


def test_sounds_change_no_file_of_the_images(release: HearingRelease, tmp_path: Path) -> None:
    shutil.copytree(release.directory.parent / "checkpoint", tmp_path / "checkpoint")
    seeing = hearing_release(tmp_path, release.kind, prefill_logits="last", sounds=None)
    names = {path.name for path in (seeing.directory / "onnx").glob("*.onnx*")}
    assert "speech.onnx" not in names
    for name in names - {"embedding.onnx", "decoder.onnx"}:
        found = (seeing.directory / "onnx" / name).read_bytes()
        assert found == (release.directory / "onnx" / name).read_bytes()


def test_every_matrix_of_an_encoder_comes_back_row_for_row(release: HearingRelease) -> None:
    matrices = release.checkpoint.components["audio"].matrices
    require_all_back(LOWERING.read_back(release.directory, release.encoder), matrices)


def test_frames_of_padding_make_no_rows(release: HearingRelease) -> None:
    import onnxruntime

    heard = sound(release.spec)
    frames = heard.features.shape[1]
    padded = np.concatenate([heard.features, np.ones_like(heard.features[:, :9])], axis=1)
    mask = np.arange(frames + 9)[None] < frames
    session = onnxruntime.InferenceSession(str(release.directory / release.encoder.path))
    given = {"input_features": padded, "input_features_mask": mask}
    (found,) = session.run(["audio_features"], given)
    with open_sound_encoder(release.opening) as encoder:
        np.testing.assert_allclose(found[0], encoder.rows(heard), atol=1e-5)


def test_an_encoder_refuses_a_sound_of_another_kind_or_length(release: HearingRelease) -> None:
    heard = sound(release.spec)
    with open_sound_encoder(release.opening) as encoder:
        assert encoder.rows(heard).shape == (heard.soft_tokens, release.encoder.width)
        for features in (heard.features[..., 1:], heard.features[0]):
            with pytest.raises(EncoderError, match="input 'features' is float"):
                encoder.rows(PreparedSound(features, heard.soft_tokens))
        with pytest.raises(EncoderError, match="or fewer frames"):
            encoder.rows(sound(release.spec, LONGEST + 1))
        with pytest.raises(EncoderError, match="rows"):
            encoder.rows(replace(heard, soft_tokens=heard.soft_tokens + 1))
    with pytest.raises(EncoderError, match="closed"):
        encoder.rows(heard)


def test_the_encoder_of_the_other_kind_is_not_opened(release: HearingRelease) -> None:
    with pytest.raises(ArtifactError, match="takes no sounds"):
        open_sound_encoder(replace(release.opening, encoder=release.towers["vision"]))
    with pytest.raises(ArtifactError, match="takes no pictures"):
        open_image_encoder(release.opening)


def test_a_decoder_that_says_of_no_rows_is_refused(release: HearingRelease, tmp_path: Path) -> None:
    copied = shutil.copytree(release.directory, tmp_path / "copied")
    decoder = copied / release.encoder.decoder
    model = onnx.load(str(decoder), load_external_data=False)
    kept = [each for each in model.metadata_props if not each.key.endswith("_token")]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    onnx.save(model, str(decoder))
    with pytest.raises(ArtifactError, match="which tokens stand for rows"):
        open_multimodal_session(replace(release.opening, release=copied))


def test_a_session_refuses_what_is_no_sound_and_stays_as_it_was(release: HearingRelease) -> None:
    tokens = some_tokens(30).copy()
    tokens[4:6] = SOUND_SOFT
    rows = np.zeros((2, release.encoder.width), np.float32)
    placed = PlacedRows(4, rows, "sound")
    with open_multimodal_session(release.opening) as session:
        for wrong in ([], [PlacedRows(4, rows)], [replace(placed, start=5)]):
            with pytest.raises(SessionError):
                session.prefill_with_rows(tokens, wrong)
            assert session.position == 0
        session.prefill_with_rows(tokens, [placed])
        assert session.position == 30


def test_rows_of_another_width_than_the_manifest_says_are_refused_on_opening(tmp_path: Path) -> None:
    release = hearing_release(tmp_path, "Gemma 4 12B", images=False)
    width = release.encoder.width
    for said in (width // 2, width + 1):
        with pytest.raises(
            ArtifactError, match=f"of width {said}, which the manifest says, but of {width}"
        ):
            open_sound_encoder(replace(release.opening, encoder=replace(release.encoder, width=said)))


@pytest.mark.parametrize("format", ["onnx", "onnx-web"])
def test_spectra_that_clients_cannot_make_are_refused_before_any_graph(format: Format) -> None:
    lowering = OnnxLowering(frozenset({format}))
    assert isinstance(lowering, RefusesMedia)
    lowering.require_media(None, SoundOrder(spectra()))
    lowering.require_media(None, SoundOrder(pieces()))
    lowering.require_media(None, None)
    other = replace(spectra(), spectrum=replace(SPECTRUM, per_token=8))
    with pytest.raises(LoweringError, match="has per_token 8, and onnxruntime-genai"):
        lowering.require_media(None, SoundOrder(other))
