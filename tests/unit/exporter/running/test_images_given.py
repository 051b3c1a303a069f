"""`gemma-export run --image`: pictures reach the tower, its rows the decoder; what cannot be is refused.

A tower and a decoder that remember stand in for every runtime. Not about what a picture is made into
(`tests/unit/runtimes/images`) or how a prompt is spelled.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from exporter.cli import main
from runtimes.encoder import EncodedRows
from runtimes.errors import EncoderError, RuntimeUnavailable
from runtimes.images.prepared import PreparedImage
from runtimes.images.preparing import prepared_image
from runtimes.images.processing import PROCESSING_NAME, SquareProcessing
from runtimes.manifest import MANIFEST_NAME, read_manifest
from runtimes.open import IMAGE_ENCODERS
from runtimes.opening import EncoderOpening
from runtimes.sounds.prepared import PreparedSound
from tests.media_speech import GEMMA_3, GEMMA_4, MediaSpeech
from tests.pictures import BLUE, RED, plain
from tests.scripted_media import ScriptedDrivers, ScriptedTower, processing_of, seeing_release
from tests.unit.exporter.packaging.test_release import sealed

SOFT = 302
HALF = (0.5, 0.5, 0.5)
MEANS = {"red.png": plain(RED), "blue.png": plain(BLUE, 200, 60)}


@pytest.fixture
def drivers(monkeypatch: pytest.MonkeyPatch) -> ScriptedDrivers:
    return ScriptedDrivers.instead(monkeypatch)


@pytest.fixture(autouse=True)
def pictures(tmp_path: Path) -> None:
    for name, pixels in MEANS.items():
        Image.fromarray(pixels).save(tmp_path / name)


def run(tmp_path: Path, prompt: str, *images: str, flags: tuple[str, ...] = ()) -> Result:
    """With four tokens to say."""
    asked = [word for each in images for word in ("--image", str(tmp_path / each))]
    return CliRunner().invoke(
        main, ["run", str(tmp_path / "release"), prompt, *asked, "--max-tokens", "4", *flags]
    )


def refused(result: Result) -> str:
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    return " ".join(result.stderr.split())


@pytest.mark.parametrize("speech", [GEMMA_3, GEMMA_4], ids=["Gemma 3", "Gemma 4"])
@pytest.mark.parametrize("template", [True, False])
def test_rows_of_each_picture_lie_where_the_prompt_has_it(
    template: bool, speech: MediaSpeech, tmp_path: Path, drivers: ScriptedDrivers
) -> None:
    seeing_release(tmp_path, speech=speech, template=template)
    result = run(tmp_path, "?", "red.png", "blue.png")
    assert result.exit_code == 0, result.output
    seen, images = drivers.session.seen, drivers.session.placed
    assert seen.count(SOFT) == sum(len(each.rows) for each in images)
    for each, pixels in zip(images, MEANS.values(), strict=True):
        assert seen[each.start - 1 : each.stop + 1] == [300, *[SOFT] * len(each.rows), 301]
        assert np.all(each.rows == prepared_image(pixels, processing_of(speech)).pixels.mean())


def test_pictures_go_where_the_prompt_has_their_places(tmp_path: Path, drivers: ScriptedDrivers) -> None:
    seeing_release(tmp_path, template=False)
    result = run(tmp_path, "a<start_of_image>b", "red.png")
    assert result.exit_code == 0, result.output
    assert drivers.session.seen[:2] == [2, 6 + ord("a")]
    assert drivers.session.placed[0].start == 5


def test_the_first_format_whose_runtime_is_here_is_opened_and_the_others_named(
    tmp_path: Path, drivers: ScriptedDrivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(opening: EncoderOpening) -> NoReturn:
        raise RuntimeUnavailable("onnxruntime is not installed; install gemma-export[run-onnx]")

    seeing_release(tmp_path)
    monkeypatch.setitem(IMAGE_ENCODERS, "onnx", missing)
    result = run(tmp_path, "?", "red.png")
    assert result.exit_code == 0, result.output
    assert "Passed over onnx/vision.onnx: onnxruntime is not installed" in result.stderr
    assert [each.encoder.format for each in drivers.opened] == ["coreml"]
    only = run(tmp_path, "?", "red.png", flags=("--format", "onnx"))
    assert "install gemma-export[run-onnx]" in refused(only)


def test_a_picture_beyond_the_towers_places_is_refused_by_its_name(
    tmp_path: Path, drivers: ScriptedDrivers
) -> None:
    release = seeing_release(tmp_path, speech=GEMMA_4)
    path = release / PROCESSING_NAME
    said = json.loads(path.read_bytes())
    said["patches"]["places"] = 1
    path.write_text(json.dumps(said), encoding="utf-8")
    message = refused(run(tmp_path, "?", "red.png"))
    assert "red.png: a picture of" in message
    assert "the model knows places for 1; crop it" in message
    assert not drivers.opened


def test_a_format_that_no_driver_here_shows_pictures_to_is_refused(tmp_path: Path) -> None:
    release = seeing_release(tmp_path, formats=("onnx",))
    manifest = read_manifest(release)
    (tower,) = manifest.encoders or ()
    other = replace(manifest, encoders=(replace(tower, format="coreml"),))
    (release / MANIFEST_NAME).write_text(other.to_json(), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.delitem(IMAGE_ENCODERS, "coreml", raising=False)
        assert "by no driver of this version" in refused(run(tmp_path, "?", "red.png"))


def test_what_is_left_out_of_a_file_is_said(tmp_path: Path, drivers: ScriptedDrivers) -> None:
    seeing_release(tmp_path)
    Image.fromarray(np.dstack([plain(RED), plain(RED)[..., :1]])).save(tmp_path / "alpha.png")
    result = run(tmp_path, "?", "alpha.png")
    assert result.exit_code == 0, result.output
    assert "alpha.png: has transparency, which is left out" in result.stderr


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"soft_tokens": 8}, "$.soft_tokens is 8, and onnx/vision.onnx makes 4 of an image"),
        ({"square": SquareProcessing(8, HALF, HALF)}, "for onnx/vision.onnx (pixels are [1, 3, 8, 8])"),
    ],
)
def test_a_description_of_pictures_that_contradicts_the_tower_is_named(
    changed: dict[str, Any], says: str, tmp_path: Path, drivers: ScriptedDrivers
) -> None:
    class Strict(ScriptedTower):
        def rows(self, given: PreparedImage | PreparedSound) -> EncodedRows:
            assert isinstance(given, PreparedImage)
            if given.pixels.shape[2:] != (16, 16):
                raise EncoderError(f"pixels are {list(given.pixels.shape)}")
            return super().rows(given)

    drivers.tower = Strict()
    path = seeing_release(tmp_path) / PROCESSING_NAME
    assert run(tmp_path, "?", "red.png").exit_code == 0
    path.write_text(replace(processing_of(GEMMA_3), **changed).to_json(), encoding="utf-8")
    said = refused(run(tmp_path, "?", "red.png"))
    assert f"{PROCESSING_NAME}: " in said
    assert says in said
    assert "copy the release again" in said


@pytest.mark.parametrize(
    ("left_out", "says"),
    [
        (["vision tower, 417 M parameters"], "left out of its checkpoint: vision tower, 417 M parameters"),
        ([], "its checkpoint has no image tower"),
    ],
)
def test_a_release_for_text_alone_says_why_it_sees_nothing(
    left_out: list[str], says: str, tmp_path: Path
) -> None:
    release = sealed(tmp_path)
    manifest = read_manifest(release)
    manifest = replace(manifest, model={**manifest.model, "left_out": left_out})
    (release / MANIFEST_NAME).write_text(manifest.to_json(), encoding="utf-8")
    said = refused(run(tmp_path, "?", "red.png"))
    assert "takes text alone" in said
    assert says in said


def test_a_release_without_the_tower_of_its_checkpoint_does_not_deny_that_there_is_one(
    tmp_path: Path,
) -> None:
    release = seeing_release(tmp_path)
    blind = replace(read_manifest(release), encoders=None)
    (release / MANIFEST_NAME).write_text(blind.to_json(), encoding="utf-8")
    assert "takes text alone (none of its formats takes images)" in refused(run(tmp_path, "?", "red.png"))


def test_a_format_that_takes_no_images_names_those_that_do(
    tmp_path: Path, drivers: ScriptedDrivers
) -> None:
    seeing_release(tmp_path, formats=("onnx",))
    said = refused(run(tmp_path, "?", "red.png", flags=("--format", "coreml")))
    assert "coreml takes no images; choose --format onnx" in said


def test_more_pictures_than_the_context_holds_are_counted(tmp_path: Path, drivers: ScriptedDrivers) -> None:
    seeing_release(tmp_path)
    said = refused(run(tmp_path, "?", *["red.png"] * 8))
    assert "8 images and the prompt around take 32 + " in said
    assert "the context of 64" in said
    assert "--image-tokens" in said
    assert not drivers.opened


def test_words_without_room_for_any_picture_are_to_be_shortened(
    tmp_path: Path, drivers: ScriptedDrivers
) -> None:
    seeing_release(tmp_path)
    said = refused(run(tmp_path, "words " * 64, "red.png"))
    assert "1 image and the prompt around take 4 + " in said
    assert "; shorten the prompt, or export with a longer --context" in said
    assert "fewer" not in said


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        ("<start_of_image><start_of_image>", "has 2 times <start_of_image>, and 1 image was given"),
        ("<image_soft_token>", "holds <image_soft_token>"),
    ],
)
def test_a_prompt_that_disagrees_with_its_pictures_is_refused(
    prompt: str, says: str, tmp_path: Path, drivers: ScriptedDrivers
) -> None:
    seeing_release(tmp_path)
    assert says in refused(run(tmp_path, prompt, "red.png"))


def no_picture(release: Path) -> None:
    (release.parent / "red.png").write_text("a poem")


def no_file(release: Path) -> None:
    (release.parent / "red.png").unlink()


def no_processing(release: Path) -> None:
    (release / PROCESSING_NAME).unlink()


def of_weights(release: Path) -> None:
    (release / "onnx/model.onnx").write_bytes(b"")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (no_picture, "red.png: is no PNG, JPEG"),
        (no_file, "red.png: no such file"),
        (no_processing, "image_processing.json: no such file"),
        (of_weights, "onnx/model.onnx: has 0 bytes, the manifest says 5"),
    ],
)
def test_damaged_files_are_named_before_a_runtime_sees_them(
    damage: Callable[[Path], None], says: str, tmp_path: Path, drivers: ScriptedDrivers
) -> None:
    damage(seeing_release(tmp_path))
    assert says in refused(run(tmp_path, "?", "red.png"))
    assert not drivers.opened


def test_a_tower_that_makes_other_rows_than_the_manifest_says_is_refused(
    tmp_path: Path, drivers: ScriptedDrivers
) -> None:
    seeing_release(tmp_path)
    drivers.tower = ScriptedTower(width=5)
    said = refused(run(tmp_path, "?", "red.png"))
    assert "onnx/vision.onnx: made rows of shape (4, 5), and an image has 4 of width 6" in said


def test_without_pictures_a_release_that_sees_reads_text(tmp_path: Path, drivers: ScriptedDrivers) -> None:
    seeing_release(tmp_path)
    run(tmp_path, "?")
    assert not drivers.opened


def test_a_place_for_a_picture_without_one_is_refused(tmp_path: Path) -> None:
    seeing_release(tmp_path)
    said = refused(run(tmp_path, "What is in <start_of_image>?"))
    assert "has <start_of_image>, which stands for an image, and none was given" in said
    assert "--image" in said


def test_an_empty_path_is_no_picture_named_after_the_directory(tmp_path: Path) -> None:
    seeing_release(tmp_path)
    result = CliRunner().invoke(main, ["run", str(tmp_path / "release"), "?", "--image", ""])
    assert "Invalid value for '--image': is empty; name a file" in refused(result)
