"""`gemma-export run --audio`: sounds reach the encoder, its rows the decoder, among pictures too; what
cannot be is refused.

Encoders and a decoder that remember stand in for every runtime. Not about what a sound is made into
(`tests/unit/runtimes/sounds`) or how a prompt is spelled; what pictures have in common with sounds is tried
on them (`test_images_given`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result
from PIL import Image

from exporter.cli import main
from exporter.validation.sound_samples import RATE, chirp, noise, tones
from runtimes.manifest import MANIFEST_NAME, FileEntry, read_manifest, sha256_of
from runtimes.sounds.preparing import prepared_sound
from runtimes.sounds.processing import SOUND_PROCESSING_NAME, read_sound_processing
from runtimes.sounds.sound_file import read_sound
from tests.pictures import RED, plain
from tests.scripted_media import (
    AUDIO_ENCODERS,
    TOWERS,
    ScriptedDrivers,
    ScriptedTower,
    hearing_release,
    seeing_release,
)
from tests.unit.exporter.packaging.test_release import sealed

SOUND, IMAGE = 306, 302  # soft tokens
ROWS = {"tones.wav": 15, "noise.wav": 8}


@pytest.fixture
def drivers(monkeypatch: pytest.MonkeyPatch) -> ScriptedDrivers:
    return ScriptedDrivers.instead(monkeypatch)


@pytest.fixture(autouse=True)
def files(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "tones.wav", tones(), RATE)
    soundfile.write(tmp_path / "noise.wav", noise(), RATE)
    Image.fromarray(plain(RED)).save(tmp_path / "red.png")


def run(tmp_path: Path, prompt: str, *sounds: str, flags: tuple[str, ...] = ()) -> Result:
    """With four tokens to say."""
    asked = [word for each in sounds for word in ("--audio", str(tmp_path / each))]
    return CliRunner().invoke(
        main, ["run", str(tmp_path / "release"), prompt, *asked, "--max-tokens", "4", *flags]
    )


def refused(result: Result) -> str:
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    return " ".join(result.stderr.split())


def test_rows_of_each_sound_lie_where_the_prompt_has_it(tmp_path: Path, drivers: ScriptedDrivers) -> None:
    release = hearing_release(tmp_path, sees=False)
    result = run(tmp_path, "?", "tones.wav", "noise.wav")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    seen, placed = drivers.session.seen, drivers.session.placed
    assert seen.count(SOUND) == sum(ROWS.values())
    how = read_sound_processing(release)
    for each, (name, rows) in zip(placed, ROWS.items(), strict=True):
        assert each.of == "sound"
        assert seen[each.start - 1 : each.stop + 1] == [304, *[SOUND] * rows, 305]
        sound = prepared_sound(read_sound(tmp_path / name, how).samples, how)
        assert np.all(each.rows == sound.features.mean())


@pytest.mark.parametrize(
    ("prompt", "kinds"),
    [
        ("?", ["image", "sound", "sound"]),
        ("<|audio|>, <|image|> and <|audio|>", ["sound", "image", "sound"]),
        ("<|audio|> and <|audio|>", ["image", "sound", "sound"]),
    ],
)
def test_pictures_and_sounds_go_where_the_prompt_has_their_places(
    prompt: str, kinds: list[str], tmp_path: Path, drivers: ScriptedDrivers
) -> None:
    hearing_release(tmp_path)
    both = ("--image", str(tmp_path / "red.png"))
    result = run(tmp_path, prompt, "tones.wav", "noise.wav", flags=both)
    assert result.exit_code == 0, result.output
    seen, placed = drivers.session.seen, drivers.session.placed
    assert [each.of for each in placed] == kinds
    heard = [len(each.rows) for each in placed if each.of == "sound"]
    assert heard == list(ROWS.values())
    for each in placed:
        assert set(seen[each.start : each.stop]) == {IMAGE if each.of == "image" else SOUND}
    assert drivers.tower.closed
    assert drivers.hearing.closed
    assert [each.encoder.component for each in drivers.opened] == ["vision", "audio"]


def test_what_is_left_out_of_a_file_is_said(tmp_path: Path, drivers: ScriptedDrivers) -> None:
    hearing_release(tmp_path)
    soundfile.write(tmp_path / "many.wav", np.tile(noise()[:, None], 3), RATE)
    result = run(tmp_path, "?", "many.wav")
    assert "many.wav: has 3 channels, of which the model hears the mean." in result.stderr


@pytest.mark.parametrize(
    ("left_out", "says"),
    [
        (["audio tower, 305 M parameters"], "left out of its checkpoint: audio tower, 305 M parameters"),
        (["vision tower, 417 M parameters"], "its checkpoint has no audio encoder"),
    ],
)
def test_a_release_for_text_alone_says_why_it_hears_nothing(
    left_out: list[str], says: str, tmp_path: Path
) -> None:
    release = sealed(tmp_path)
    manifest = read_manifest(release)
    manifest = replace(manifest, model={**manifest.model, "left_out": left_out})
    (release / MANIFEST_NAME).write_text(manifest.to_json(), encoding="utf-8")
    assert f"takes text alone ({says})" in refused(run(tmp_path, "?", "tones.wav"))


def test_a_release_that_sees_and_does_not_hear_says_so(tmp_path: Path, drivers: ScriptedDrivers) -> None:
    seeing_release(tmp_path)
    said = refused(run(tmp_path, "?", "tones.wav"))
    assert "takes no sounds (its checkpoint has no audio encoder); export a model that hears" in said


def test_a_release_that_hears_and_does_not_see_says_so(tmp_path: Path, drivers: ScriptedDrivers) -> None:
    hearing_release(tmp_path, sees=False)
    said = refused(run(tmp_path, "?", "tones.wav", flags=("--image", str(tmp_path / "red.png"))))
    assert "takes no images (its checkpoint has no image tower)" in said


def test_pictures_and_sounds_want_a_format_that_takes_both(
    tmp_path: Path, drivers: ScriptedDrivers
) -> None:
    release = hearing_release(tmp_path)
    manifest = read_manifest(release)
    apart = replace(manifest, encoders=(TOWERS["onnx"], AUDIO_ENCODERS["coreml"]))
    (release / MANIFEST_NAME).write_text(apart.to_json(), encoding="utf-8")
    image = ("--image", str(tmp_path / "red.png"))
    said = refused(run(tmp_path, "?", "tones.wav", flags=image))
    assert "takes images and sounds; give one of them alone" in said
    assert run(tmp_path, "?", "tones.wav").exit_code == 0
    assert drivers.opened[-1].encoder.format == "coreml"
    only = refused(run(tmp_path, "?", "tones.wav", flags=("--format", "onnx")))
    assert "onnx takes no sounds; choose --format coreml" in only


def test_more_sounds_than_the_context_holds_are_counted(tmp_path: Path, drivers: ScriptedDrivers) -> None:
    hearing_release(tmp_path)
    said = refused(run(tmp_path, "?", *["tones.wav"] * 4))
    assert "--audio: 4 sounds and the prompt around take 60 + " in said
    assert "give fewer or shorter sounds, or export with a longer --context" in said
    assert "--image-tokens" not in said
    assert "of 64 would hold none after these; it has room for 38 soft tokens (1.52 s) of sound;" in said
    both = run(tmp_path, "?", *["tones.wav"] * 3, flags=("--image", str(tmp_path / "red.png")))
    assert "--image and --audio: 1 image, 3 sounds and the prompt around take 49 + " in refused(both)
    assert not drivers.opened


@pytest.mark.parametrize(
    ("prompt", "sounds", "says"),
    [
        ("<|audio|><|audio|>", ("tones.wav",), "has 2 times <|audio|>, and 1 sound was given"),
        ("<|audio|>", (), "has <|audio|>, which stands for a sound, and none was given; name its file"),
        ("<|image|>", ("tones.wav",), "has <|image|>, which stands for an image, and none was given"),
    ],
)
def test_a_prompt_that_disagrees_with_its_sounds_is_refused(
    prompt: str, sounds: tuple[str, ...], says: str, tmp_path: Path, drivers: ScriptedDrivers
) -> None:
    hearing_release(tmp_path)
    assert says in refused(run(tmp_path, prompt, *sounds))


def no_sound(release: Path) -> None:
    (release.parent / "tones.wav").write_text("a poem")


def too_long(release: Path) -> None:
    soundfile.write(release.parent / "tones.wav", chirp(1.5), RATE)


def no_processing(release: Path) -> None:
    (release / SOUND_PROCESSING_NAME).unlink()


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (no_sound, "tones.wav: is no WAV, FLAC, Ogg or MP3"),
        (too_long, "tones.wav: lasts 1.50 s, and the model hears 1.28 s of one sound"),
        (no_processing, "sound_processing.json: no such file"),
    ],
)
def test_damaged_files_are_named_before_a_runtime_sees_them(
    damage: Callable[[Path], None], says: str, tmp_path: Path, drivers: ScriptedDrivers
) -> None:
    damage(hearing_release(tmp_path))
    assert says in refused(run(tmp_path, "?", "tones.wav"))
    assert not drivers.opened


def test_an_encoder_that_makes_other_rows_than_the_manifest_says_is_refused(
    tmp_path: Path, drivers: ScriptedDrivers
) -> None:
    hearing_release(tmp_path)
    drivers.hearing = ScriptedTower(width=5)
    said = refused(run(tmp_path, "?", "noise.wav"))
    assert "onnx/speech.onnx: made rows of shape (8, 5), and a sound has 8 of width 6" in said


def test_a_description_of_sounds_that_was_changed_since_is_refused_though_an_encoder_would_take_it(
    tmp_path: Path, drivers: ScriptedDrivers
) -> None:
    release = hearing_release(tmp_path, sees=False)
    path, manifest = release / SOUND_PROCESSING_NAME, read_manifest(release)
    entry = FileEntry(SOUND_PROCESSING_NAME, path.stat().st_size, sha256_of(path))
    listed = replace(manifest, files=(*manifest.files, entry))
    (release / MANIFEST_NAME).write_text(listed.to_json(), encoding="utf-8")
    assert run(tmp_path, "?", "tones.wav").exit_code == 0
    how = read_sound_processing(release)
    assert how.spectrum is not None
    quieter = replace(how, spectrum=replace(how.spectrum, floor=0.5))
    path.write_text(quieter.to_json(), encoding="utf-8")
    said = refused(run(tmp_path, "?", "tones.wav"))
    assert (
        f"{SOUND_PROCESSING_NAME}: was changed after the release was made; copy the release again" in said
    )


@pytest.mark.parametrize("name", ["", "/nowhere/\udcff.wav"])
def test_a_sound_without_a_name_that_can_be_is_refused(name: str, tmp_path: Path) -> None:
    hearing_release(tmp_path)
    said = refused(CliRunner().invoke(main, ["run", str(tmp_path / "release"), "?", "--audio", name]))
    assert "Invalid value for '--audio'" in said
