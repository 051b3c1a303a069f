"""`gemma-export run --audio` on tiny ONNX releases, on a light install: what it says is what transformers'
encoders and text models say, given our reading of the files and the same chance.

Matrix: Gemma 4 E2B and 12B, two sounds and a picture in one prompt, one sound of another rate. That
spectra, samples and tokens are transformers' own is shown elsewhere
(tests/parity/test_sound_processors.py, test_media_prompts.py), as are other runtimes.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from exporter.reference.reference_tower import ReferenceTower
from exporter.running.encoding import Encoded
from exporter.validation.sound_samples import RATE, noise, tones
from runtimes.images.preparing import prepared_image
from runtimes.images.processing import PROCESSING_NAME, ImageMarks
from runtimes.sounds.preparing import prepared_sound
from runtimes.sounds.processing import SOUND_PROCESSING_NAME
from runtimes.sounds.sound_file import read_sound
from tests.end_to_end.asked_release import FLAGS, PROMPT, AskedRelease
from tests.end_to_end.test_light_install import ONNX, on_a_light_install
from tests.pictures import quadrants
from tests.seen_pictures import processing_of
from tests.tiny_towers import BEGIN, END, SOFT
from tests.unit.exporter.lowering.onnx.hearing_releases import HearingRelease, hearing_release

PICTURE = quadrants(96, 144)
MARKS = ImageMarks(SOFT, BEGIN, END, line_breaks=False, placeholder="<|image|>")
SECONDS = {"Gemma 4 E2B": (0.3, 0.6), "Gemma 4 12B": (0.06, 0.11)}  # a tiny 12B's tokens are short


@pytest.fixture(scope="module", params=SECONDS)
def release(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> HearingRelease:
    """With all that running it takes."""
    directory = tmp_path_factory.mktemp("hearing")
    found = hearing_release(directory, request.param)
    sees = replace(processing_of(found.checkpoint.components["vision"].spec), marks=MARKS)
    descriptions = {PROCESSING_NAME: sees.to_json(), SOUND_PROCESSING_NAME: found.processing.to_json()}
    asked(found).complete(directory / "checkpoint", descriptions)
    Image.fromarray(PICTURE).save(directory / "a.png")
    first, second = SECONDS[request.param]
    soundfile.write(directory / "a.wav", noise(first), RATE)
    soundfile.write(directory / "b.flac", np.repeat(tones(second), 2), 2 * RATE)
    return found


def asked(release: HearingRelease) -> AskedRelease:
    encoders = tuple(release.towers.values())
    return AskedRelease(release.directory, release.artifact, encoders, release.weights)


def test_it_says_what_transformers_says_of_sounds_and_a_picture(
    release: HearingRelease, tmp_path: Path
) -> None:
    place = release.directory.parent
    picture, first, second = place / "a.png", place / "a.wav", place / "b.flac"

    def run(*sounds: Path) -> str:
        given = ["--image", picture, *(word for each in sounds for word in ("--audio", each))]
        done = on_a_light_install("run", release.directory, PROMPT, *given, *FLAGS, runtimes=ONNX)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        said: str = done.stdout
        return said

    heard = run(first, second)
    hears = ReferenceTower(release.weights, release.spec)
    vision = release.checkpoint.components["vision"].spec
    sees = ReferenceTower(release.weights, vision)
    samples = [read_sound(each, release.processing).samples for each in (first, second)]
    rows: Encoded = {
        "image": [sees.rows(prepared_image(PICTURE, processing_of(vision)))],
        "sound": [hears.rows(prepared_sound(each, release.processing)) for each in samples],
    }
    assert heard == asked(release).said_by_transformers(rows, tmp_path) + "\n"
    assert run(second, first) != heard
