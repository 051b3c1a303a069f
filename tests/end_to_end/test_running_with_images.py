"""`gemma-export run --image` on tiny ONNX releases, on a light install: what it says is what transformers'
towers and text models say, given our reading of the pictures and the same chance.

Matrix: Gemma 3 and Gemma 4 E2B, two pictures in one prompt. That pixels and tokens are transformers' own is
shown elsewhere (tests/parity/test_image_processors.py, test_media_prompts.py), as are other runtimes.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from exporter.reference.reference_tower import ReferenceTower
from runtimes.images.preparing import prepared_image
from runtimes.images.processing import PROCESSING_NAME, ImageMarks, read_processing
from tests.end_to_end.asked_release import FLAGS, PROMPT, AskedRelease
from tests.end_to_end.test_light_install import ONNX, on_a_light_install
from tests.pictures import noise, quadrants
from tests.seen_pictures import processing_of
from tests.tiny_towers import BEGIN, END, SOFT
from tests.unit.exporter.lowering.onnx.seeing_releases import SeeingRelease, seeing_release

PICTURES = {"a.png": quadrants(96, 144), "b.png": noise(90, 60)}
MARKS = {
    "Gemma 3": ImageMarks(SOFT, BEGIN, END, line_breaks=True, placeholder="<start_of_image>"),
    "Gemma 4 E2B": ImageMarks(SOFT, BEGIN, END, line_breaks=False, placeholder="<|image|>"),
}


@pytest.fixture(scope="module", params=MARKS)
def release(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SeeingRelease:
    """With all that running it takes."""
    directory = tmp_path_factory.mktemp("seeing")
    found = seeing_release(directory, request.param)
    processing = replace(processing_of(found.spec), marks=MARKS[request.param])
    asked(found).complete(directory / "checkpoint", {PROCESSING_NAME: processing.to_json()})
    for name, pixels in PICTURES.items():
        Image.fromarray(pixels).save(directory / name)
    return found


def asked(release: SeeingRelease) -> AskedRelease:
    return AskedRelease(release.directory, release.artifact, (release.encoder,), release.weights)


def test_it_says_what_transformers_says_of_the_pictures(release: SeeingRelease, tmp_path: Path) -> None:
    place = release.directory.parent
    first, second = (["--image", place / name] for name in PICTURES)

    def run(*pictures: object) -> str:
        done = on_a_light_install("run", release.directory, PROMPT, *pictures, *FLAGS, runtimes=ONNX)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        said: str = done.stdout
        return said

    seen = run(*first, *second)
    processing = read_processing(release.directory)
    tower = ReferenceTower(release.weights, release.spec)
    rows = [tower.rows(prepared_image(pixels, processing)) for pixels in PICTURES.values()]
    assert seen == asked(release).said_by_transformers({"image": rows}, tmp_path) + "\n"
    assert run(*second, *first) != seen
