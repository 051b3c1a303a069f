"""ONNX graphs for images: where their weights lie, what is read back of them, what clients see of them."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from exporter.lowering.onnx.artifact_file import ArtifactFile, operators_of
from exporter.lowering.onnx.lowering import OnnxLowering
from runtimes.errors import ArtifactError, EncoderError, SessionError
from runtimes.multimodal.session import PlacedRows
from runtimes.open import open_image_encoder, open_multimodal_session
from tests.fakes import silent
from tests.seen_pictures import picture
from tests.tiny_releases import lowering_order, some_tokens
from tests.tiny_towers import SOFT
from tests.unit.exporter.lowering.onnx.seeing_releases import (
    CHUNK,
    CONTEXT,
    SeeingRelease,
    require_all_back,
    seeing_release,
)

LOWERING = OnnxLowering(frozenset({"onnx"}))
TEXT = ("model.onnx", "model.onnx.data")


@pytest.fixture(scope="module", params=["Gemma 3", "Gemma 4 E2B"])
def release(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SeeingRelease:
    return seeing_release(tmp_path_factory.mktemp("seeing"), request.param, prefill_logits="last")


def test_no_weight_of_the_text_is_written_twice(release: SeeingRelease) -> None:
    folder = release.directory / "onnx"
    for name in ("embedding.onnx", "decoder.onnx"):
        file = ArtifactFile.open(folder / name)
        stored = [each for each in file.initializers if file.initializers[each].external_data]
        assert stored
        assert {file.external(each)[0].name for each in stored} == {"model.onnx.data"}
    data = sorted(path.name for path in folder.glob("*.data"))
    assert data == ["model.onnx.data", "vision.onnx.data"]


def test_the_graph_of_tokens_is_what_it_is_without_images(release: SeeingRelease, tmp_path: Path) -> None:
    order = lowering_order(release.checkpoint, tmp_path, context=CONTEXT, prefill_chunk=CHUNK)
    assert LOWERING.encoders(order) == ()
    out = tmp_path / "release"
    out.mkdir()
    LOWERING.lower(order, out, silent)
    graphs = {path.name for path in (out / "onnx").glob("*.onnx*")}
    assert graphs == set(TEXT)
    for name in TEXT:
        assert (out / "onnx" / name).read_bytes() == (release.directory / "onnx" / name).read_bytes()


def test_every_matrix_of_a_tower_comes_back_row_for_row(release: SeeingRelease) -> None:
    matrices = release.checkpoint.components["vision"].matrices
    require_all_back(LOWERING.read_back(release.directory, release.encoder), matrices)


def test_rows_that_no_block_divides_are_filled_up(release: SeeingRelease) -> None:
    model = onnx.load(str(release.directory / release.encoder.path), load_external_data=False)
    shapes = {each.name: list(each.dims) for each in model.graph.initializer}
    widths = {}
    for node in operators_of(model).node:
        if node.op_type == "MatMulNBits":
            given = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
            blocks = shapes[node.input[1]][1]
            assert blocks == -(-given["K"] // given["block_size"])
            widths[given["K"]] = given["block_size"]
    if release.kind == "Gemma 3":  # 7 blocks of 16 would fill a row of 112
        assert widths[112] == 128


def test_a_session_refuses_what_is_no_image_and_stays_as_it_was(release: SeeingRelease) -> None:
    tokens = some_tokens(30).copy()
    tokens[4:6] = SOFT
    rows = np.zeros((2, release.encoder.width), np.float32)
    with open_multimodal_session(release.opening) as session:
        for images in ([], [PlacedRows(5, rows)], [PlacedRows(4, rows[:, :-1])]):
            with pytest.raises(SessionError):
                session.prefill_with_rows(tokens, images)
            assert session.position == 0
        session.prefill_with_rows(tokens, [PlacedRows(4, rows)])
        assert session.position == 30
    with pytest.raises(SessionError, match="closed"):
        session.prefill_with_rows(tokens, [PlacedRows(4, rows)])


def test_a_graph_that_is_missing_is_named(release: SeeingRelease, tmp_path: Path) -> None:
    copied = shutil.copytree(release.directory, tmp_path / "copied")
    tower, decoder = copied / release.encoder.path, copied / release.encoder.decoder
    opening = replace(release.opening, release=copied)
    (beside,) = [each for each in decoder.parent.glob("*.onnx") if each.name.startswith("embed")]
    for gone, opens in (
        (beside, open_multimodal_session),
        (decoder, open_multimodal_session),
        (tower, open_image_encoder),
    ):
        gone.unlink()
        with pytest.raises(ArtifactError, match=f"{re.escape(str(gone))}: is missing; copy the release"):
            opens(opening)


def test_a_tower_refuses_a_picture_of_another_kind_or_size(release: SeeingRelease) -> None:
    taken = picture(release.spec)
    with open_image_encoder(release.opening) as encoder:
        assert encoder.rows(taken).shape == (taken.soft_tokens, release.encoder.width)
        half = type(taken)(taken.pixels[..., 1:], taken.positions, taken.soft_tokens)
        with pytest.raises(EncoderError, match="input 'pixels' is float32"):
            encoder.rows(half)
        many = type(taken)(taken.pixels, taken.positions, 1000)
        with pytest.raises(EncoderError, match="1000 soft tokens"):
            encoder.rows(many)
    with pytest.raises(EncoderError, match="closed"):
        encoder.rows(taken)


@pytest.mark.parametrize("said", [-1, 1])
def test_rows_of_another_width_than_the_manifest_says_are_refused(
    release: SeeingRelease, said: int
) -> None:
    width = release.encoder.width
    other = replace(release.opening, encoder=replace(release.encoder, width=width + said))
    with pytest.raises(
        ArtifactError, match=f"of width {width + said}, which the manifest says, but of {width}"
    ):
        open_image_encoder(other)


def test_a_number_behind_rows_for_the_web_that_is_no_mark_is_refused(release: SeeingRelease) -> None:
    off_by_one = replace(release.encoder, format="onnx-web", width=release.encoder.width - 1)
    with (
        open_image_encoder(replace(release.opening, encoder=off_by_one)) as encoder,
        pytest.raises(ArtifactError, match="what is behind them is no mark; copy the release again"),
    ):
        encoder.rows(picture(release.spec))
