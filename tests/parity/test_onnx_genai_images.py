"""onnxruntime-genai, the engine users run, answering about a PNG, against transformers on its own pixels.

Matrix: tiny Gemma 3 (448 pixels, 256 soft tokens: fewer genai does not know) and Gemma 4 E2B; one picture
and two. Not asserted: that genai's pixels are transformers' (they are, but for resizing Gemma 4
pictures), Gemma 4 12B, whose squares its processor does not make.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from exporter.reference.reference_tower import ReferenceTower
from runtimes.images.prepared import PreparedImage
from runtimes.multimodal.session import PlacedRows
from tests.parity.genai_generation import driver_tokens, genai_tokens
from tests.pictures import ramps
from tests.reference_answers import likeliest
from tests.tiny import name_unused
from tests.tiny_image_stores import write_tiny_multimodal
from tests.tiny_releases import some_tokens
from tests.tiny_towers import SOFT, TinyTower, tiny_patch_tower, tiny_siglip
from tests.unit.exporter.lowering.onnx.seeing_releases import SeeingRelease, seeing_release

ANSWERED = 12
TOWERS: dict[str, Callable[[], TinyTower]] = {
    "Gemma 3": lambda: tiny_siglip(448, 256),
    "Gemma 4 E2B": tiny_patch_tower,
}
MARKERS = {"Gemma 3": "<start_of_image>", "Gemma 4 E2B": "<|image|>"}
# genai's tokenizer has no bytes to fall back to: these are words of the tiny one.
WORDS = {300 + i: word for i, word in enumerate(["\n\n", "<what>", "<is>", "<this>", "<then>", "<that>"])}


@pytest.fixture(scope="module", params=TOWERS)
def release(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SeeingRelease:
    directory, kind = tmp_path_factory.mktemp("genai"), request.param
    checkpoint = write_tiny_multimodal(directory / "checkpoint", kind, TOWERS[kind]())
    quieten(checkpoint / "model.safetensors")
    name_unused(checkpoint, WORDS)
    return seeing_release(
        directory, kind, context=640, prefill_chunk=64, tokenizer=checkpoint, prefill_logits="last"
    )


def quieten(weights: Path) -> None:
    """Have a model say more than its last token over and over, as tiny ones with large embeddings do."""
    tensors = load_file(weights)
    for name in tensors:
        if name.endswith("embed_tokens.weight"):
            tensors[name] = tensors[name] * 0.2
    save_file(tensors, weights, {"format": "pt"})


@dataclass(frozen=True)
class Answered:
    """What genai made of a prompt with pictures: its tokens, its pixels, and what it said."""

    tokens: list[int]
    images: list[PreparedImage]
    answer: list[int]


def answered(directory: Path, prompt: str, pictures: list[Path]) -> Answered:
    import onnxruntime_genai as genai

    model = genai.Model(str(directory))
    processor = model.create_multimodal_processor()
    inputs = processor(prompt, images=genai.Images.open(*map(str, pictures)))
    tokens = inputs["input_ids"].as_numpy().reshape(-1).tolist()
    parameters = genai.GeneratorParams(model)
    parameters.set_search_options(max_length=len(tokens) + ANSWERED, do_sample=False)
    generator = genai.Generator(model, parameters)
    generator.set_inputs(inputs)
    while not generator.is_done():
        generator.generate_next_token()
    answer = [int(token) for token in generator.get_sequence(0)[len(tokens) :]]
    return Answered(tokens, [prepared(inputs, i) for i in range(len(pictures))], answer)


def prepared(inputs: Any, number: int) -> PreparedImage:
    pixels = inputs["pixel_values"].as_numpy()[number : number + 1]
    if pixels.ndim == 4:
        return PreparedImage(pixels, None, 256)
    positions = inputs["pixel_position_ids"].as_numpy()[number : number + 1].astype(np.int32)
    return PreparedImage(pixels, positions, pixels.shape[1] // 9)


def reference_answer(release: SeeingRelease, found: Answered, scratch: Path, factor: float) -> list[int]:
    """transformers' likeliest token where genai gave each of its own, with rows times a factor."""
    tower = ReferenceTower(release.weights, release.spec)
    tokens = np.array(found.tokens + found.answer, np.int32)
    soft = tokens == SOFT
    starts = np.flatnonzero(soft & ~np.concatenate([[False], soft[:-1]]))
    rows = [tower.rows(image) * np.float32(factor) for image in found.images]
    images = tuple(PlacedRows(int(at), each) for at, each in zip(starts, rows, strict=True))
    assert sum(len(image.rows) for image in images) == soft.sum()
    return likeliest(release.weights, tokens.tolist(), len(found.tokens), images, scratch)


def drawn(directory: Path) -> Path:
    path = directory / "picture.png"
    Image.fromarray(ramps(240, 144)).save(path)
    return path


def test_genai_answers_about_a_picture_what_transformers_does(
    release: SeeingRelease, tmp_path: Path
) -> None:
    prompt = f"<what><is>{MARKERS[release.kind]}<this>"
    found = answered(release.directory / "onnx", prompt, [drawn(tmp_path)])
    assert len(found.answer) == ANSWERED
    assert len(set(found.answer)) > 2, "an answer of one word would prove nothing"
    assert found.answer == reference_answer(release, found, tmp_path, 1.0)
    assert found.answer != reference_answer(release, found, tmp_path, 0.0)


def test_genai_answers_about_two_pictures(release: SeeingRelease, tmp_path: Path) -> None:
    marker = MARKERS[release.kind]
    prompt = f"<what><is>{marker}<then>{marker}<that>"
    found = answered(release.directory / "onnx", prompt, [drawn(tmp_path)] * 2)
    assert found.answer == reference_answer(release, found, tmp_path, 1.0)


def test_genai_continues_a_text_as_before(release: SeeingRelease) -> None:
    prompt = some_tokens(40).tolist()
    found = genai_tokens(release.directory / "onnx", prompt, len(prompt) + ANSWERED)
    assert found == driver_tokens(release.directory / release.artifact.path, prompt, len(found))


def test_gemma_4_12b_stays_a_model_of_text_for_genai(tmp_path: Path) -> None:
    release = seeing_release(tmp_path, "Gemma 4 12B")
    folder = release.directory / "onnx"
    config = json.loads((folder / "genai_config.json").read_bytes())
    assert config["model"]["type"] == "gemma4_text"
    assert not (folder / "processor_config.json").exists()
    assert genai_tokens(folder, some_tokens(20).tolist(), 24)
