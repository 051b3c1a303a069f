"""`gemma-export run --image` on tiny ONNX releases, on a light install: what it says is what transformers'
towers and text models say, given our reading of the pictures and the same chance.

Matrix: Gemma 3 and Gemma 4 E2B, two pictures in one prompt. That pixels and tokens are transformers' own is
shown elsewhere (tests/parity/test_image_processors.py, test_media_prompts.py), as are other runtimes.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from exporter.reference.merged_logits import AskedPrompt, merged_logits
from exporter.reference.reference_tower import ReferenceTower
from exporter.running.encoding import placed
from exporter.running.media import spelling_of
from exporter.running.placed_release import PlacedRelease
from exporter.running.prompt_tokens import speech_of
from exporter.running.sampling import sampler
from runtimes.images.preparing import prepared_image
from runtimes.images.processing import PROCESSING_NAME, ImageMarks, read_processing
from runtimes.manifest import MANIFEST_NAME, ComponentEntry, FileEntry, Manifest, TokensEntry
from tests.end_to_end.test_light_install import ONNX, on_a_light_install
from tests.fakes import silent
from tests.pictures import noise, quadrants
from tests.seen_pictures import processing_of
from tests.tiny_towers import BEGIN, END, SOFT
from tests.unit.exporter.lowering.onnx.seeing_releases import SeeingRelease, seeing_release

PROMPT, SAID, BOS, STOPS = "Which?", 12, 2, (1, 5)
TEMPERATURE, SEED = 4.0, 5  # greedily a tiny model says one token again and again, whatever it sees
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
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(directory / "checkpoint" / name, found.directory / name)
    processing = replace(processing_of(found.spec), marks=MARKS[request.param])
    (found.directory / PROCESSING_NAME).write_text(processing.to_json(), encoding="utf-8")
    (found.directory / MANIFEST_NAME).write_text(manifest_of(found).to_json(), encoding="utf-8")
    for name, pixels in PICTURES.items():
        Image.fromarray(pixels).save(directory / name)
    return found


def manifest_of(release: SeeingRelease) -> Manifest:
    sizes = {path: path.stat().st_size for path in release.directory.rglob("*") if path.is_file()}
    return Manifest(
        schema_version=2,
        model={"name": "tiny", "model_type": "gemma", "parameters": 1, "left_out": []},
        source={"name": "tiny", "sha256": {}},
        components={
            "text": ComponentEntry("text", 1, ("tokens",), ("logits",)),
            "vision": ComponentEntry("vision", 1, ("pixels",), ("image rows",)),
        },
        versions={},
        plan={
            "recipe": "int8",
            "target": "desktop",
            "formats": ["onnx"],
            "context": release.artifact.context,
            "schemes": {},
            "weight_bytes": 1,
            "accelerators": {"onnx": "CPU"},
        },
        artifacts=(release.artifact,),
        files=tuple(
            FileEntry(path.relative_to(release.directory).as_posix(), size, "0" * 64)
            for path, size in sizes.items()
        ),
        tokens=TokensEntry(BOS, STOPS),
        encoders=(release.encoder,),
    )


def said_by_transformers(release: SeeingRelease, scratch: Path) -> str:
    """Chosen by the same chance."""
    processing = read_processing(release.directory)
    shown = [prepared_image(pixels, processing) for pixels in PICTURES.values()]
    opened = PlacedRelease.open(release.directory)
    speech = speech_of(opened)
    spelling = spelling_of(opened, speech.tokenizer)
    asked = speech.media_prompt(PROMPT, {"image": [each.soft_tokens for each in shown]}, spelling)
    tower = ReferenceTower(release.weights, release.spec)
    images = placed(asked, {"image": [tower.rows(each) for each in shown]})
    choose, said = sampler(TEMPERATURE, SEED), list[int]()
    while len(said) < SAID:
        tokens = np.array([*asked.tokens, *said], np.int32)
        prompt = AskedPrompt(tokens, images, np.array([len(tokens) - 1]))
        logits = merged_logits(release.weights, [prompt], scratch / f"{len(said)}", silent)
        said.append(choose(logits.rows(0, 1)[0]))
    text: str = speech.tokenizer.decode(said)
    return text


def test_it_says_what_transformers_says_of_the_pictures(release: SeeingRelease, tmp_path: Path) -> None:
    place = release.directory.parent
    first, second = (["--image", place / name] for name in PICTURES)

    def run(*pictures: object) -> Any:
        flags = ("--max-tokens", SAID, "--temperature", TEMPERATURE, "--seed", SEED)
        done = on_a_light_install("run", release.directory, PROMPT, *pictures, *flags, runtimes=ONNX)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return done.stdout

    seen = run(*first, *second)
    assert seen == said_by_transformers(release, tmp_path) + "\n"
    assert run(*second, *first) != seen
