"""Tokens of prompts with images against transformers' processors.

Matrix: Gemma3Processor, Gemma4Processor, Gemma4UnifiedProcessor × one image, two, interleaved over two
turns, text before an image, without a template. Those of Gemma 4 want a video processor, which wants
torchvision: they are built without one. Not about pixels.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from transformers import PreTrainedTokenizerFast
from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil
from transformers.models.gemma3.processing_gemma3 import Gemma3Processor
from transformers.models.gemma4.image_processing_pil_gemma4 import Gemma4ImageProcessorPil
from transformers.models.gemma4.processing_gemma4 import Gemma4Processor
from transformers.models.gemma4_unified.processing_gemma4_unified import Gemma4UnifiedProcessor

from exporter.checkpoints.tokenizer.image_spelling import ImageSpelling
from exporter.running.placed_release import PlacedRelease
from exporter.running.prompt_tokens import ImagePrompt, Speech, speech_of
from tests.image_speech import GEMMA_3, GEMMA_4, ImageSpeech, write_image_speech
from tests.pictures import noise
from tests.unit.exporter.packaging.test_release import sealed

SIZES = ((64, 48), (200, 40))
IMAGE: dict[str, Any] = {"type": "image"}
KINDS = {
    "Gemma 3": (GEMMA_3, Gemma3Processor),
    "Gemma 4": (GEMMA_4, Gemma4Processor),
    "Gemma 4 unified": (GEMMA_4, Gemma4UnifiedProcessor),
}


def words(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


CONVERSATIONS: dict[str, list[dict[str, Any]]] = {
    "one": [{"role": "user", "content": [IMAGE, words("What colour is it?")]}],
    "two": [{"role": "user", "content": [IMAGE, IMAGE, words("What differs?")]}],
    "text first": [{"role": "user", "content": [words("This:\n"), IMAGE, words("\nor"), IMAGE]}],
    "two turns": [
        {"role": "user", "content": [words("Look."), IMAGE]},
        {"role": "assistant", "content": [words("I see.")]},
        {"role": "user", "content": [words("And"), IMAGE, words("this?")]},
    ],
}


def processor(kind: str, directory: Path) -> Any:
    """transformers' own, over a tiny tokenizer."""
    speech, processor_class = KINDS[kind]
    tokenizer = PreTrainedTokenizerFast.from_pretrained(directory)
    if speech is GEMMA_3:
        pictures = Gemma3ImageProcessorPil(size={"height": 56, "width": 56})
        return processor_class(pictures, tokenizer, chat_template=speech.template, image_seq_length=4)

    parts = {"check_argument_for_proper_class": lambda *_: None, "model_input_names": ["input_ids"]}
    without_sound_and_video: Any = type("WithoutSoundAndVideo", (processor_class,), parts)
    pictures = Gemma4ImageProcessorPil(max_soft_tokens=70)
    return without_sound_and_video(None, pictures, tokenizer, None, chat_template=speech.template)


def ours(directory: Path, kind: ImageSpeech, template: bool = True) -> tuple[Speech, ImageSpelling]:
    release = sealed(directory)
    write_image_speech(release, kind, template)
    speech = speech_of(PlacedRelease.open(release))
    return speech, ImageSpelling.of(kind.marks, speech.tokenizer)


def rows_of(theirs: list[int], soft: int) -> list[int]:
    """Lengths of the runs of soft tokens."""
    edges = np.flatnonzero(np.diff(np.pad(np.array(theirs) == soft, 1).astype(int)))
    return [int(each) for each in edges[1::2] - edges[::2]]


def check(found: ImagePrompt, theirs: list[int], rows: list[int], soft: int) -> None:
    assert found.tokens == theirs
    assert [theirs[start - 1] for start in found.starts] == [300] * len(rows)
    for start, length in zip(found.starts, rows, strict=True):
        assert theirs[start : start + length + 1] == [soft] * length + [301]


@pytest.mark.parametrize("name", CONVERSATIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_conversation_has_the_tokens_of_transformers(kind: str, name: str, tmp_path: Path) -> None:
    speech, spelling = ours(tmp_path, KINDS[kind][0])
    messages = CONVERSATIONS[name]
    places = [part for message in messages for part in message["content"] if part == IMAGE]
    pictures = [Image.fromarray(noise(*size)) for size, _ in zip(SIZES, places, strict=False)]
    prompt = processor(kind, tmp_path / "release").apply_chat_template(messages, add_generation_prompt=True)
    theirs = processor(kind, tmp_path / "release")(
        images=[pictures], text=[prompt], add_special_tokens=False
    )["input_ids"][0]
    rows = rows_of(theirs, spelling.marks.soft)
    assert len(rows) == len(pictures)
    check(speech.conversation(messages, rows, spelling), theirs, rows, spelling.marks.soft)


@pytest.mark.parametrize("images", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_a_text_without_a_template_has_the_tokens_of_transformers(
    kind: str, images: int, tmp_path: Path
) -> None:
    speech, spelling = ours(tmp_path, KINDS[kind][0], template=False)
    pictures = [Image.fromarray(noise(*size)) for size in SIZES[:images]]
    text = " ".join([spelling.marks.placeholder] * images) + " in this image, there is"
    theirs = processor(kind, tmp_path / "release")(images=[pictures], text=[text])["input_ids"][0]
    rows = rows_of(theirs, spelling.marks.soft)
    check(
        speech.image_prompt("in this image, there is", rows, spelling),
        [2, *theirs],
        rows,
        spelling.marks.soft,
    )
