"""Tokens of prompts with images and sounds against transformers' processors.

Matrix: Gemma3Processor, Gemma4Processor, Gemma4UnifiedProcessor × one image, two, interleaved over two
turns, text before an image, without a template; the last two × sounds, alone and among images. They want a
video processor, which wants torchvision: they are built without one. Not about pixels and samples.
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
from transformers.models.gemma4.feature_extraction_gemma4 import Gemma4AudioFeatureExtractor
from transformers.models.gemma4.image_processing_pil_gemma4 import Gemma4ImageProcessorPil
from transformers.models.gemma4.processing_gemma4 import Gemma4Processor
from transformers.models.gemma4_unified.feature_extraction_gemma4_unified import (
    Gemma4UnifiedAudioFeatureExtractor,
)
from transformers.models.gemma4_unified.processing_gemma4_unified import Gemma4UnifiedProcessor

from exporter.checkpoints.tokenizer.media_spelling import MediaRows, MediaSpelling
from exporter.running.placed_release import PlacedRelease
from exporter.running.prompt_tokens import MediaPrompt, Speech, speech_of
from exporter.validation import sound_samples
from runtimes.images.processing import ImageMarks
from runtimes.multimodal.session import RowKind
from runtimes.sounds.preparing import prepared_sound
from runtimes.sounds.processing import SoundMarks
from tests.media_speech import GEMMA_3, GEMMA_4, MediaSpeech, write_media_speech
from tests.pictures import noise
from tests.sound_processing import pieces, spectra
from tests.unit.exporter.packaging.test_release import sealed

SIZES = ((64, 48), (200, 40))
SOUNDS = (sound_samples.noise(0.21), sound_samples.tones(0.4))
IMAGE: dict[str, Any] = {"type": "image"}
SOUND: dict[str, Any] = {"type": "audio"}
KINDS = {
    "Gemma 3": (GEMMA_3, Gemma3Processor),
    "Gemma 4": (GEMMA_4, Gemma4Processor),
    "Gemma 4 unified": (GEMMA_4, Gemma4UnifiedProcessor),
}
EXTRACTORS = {
    "Gemma 4": Gemma4AudioFeatureExtractor,
    "Gemma 4 unified": Gemma4UnifiedAudioFeatureExtractor,
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


HEARD: dict[str, list[dict[str, Any]]] = {
    "a sound": [{"role": "user", "content": [SOUND, words("What is it?")]}],
    "an image and two sounds": [
        {"role": "user", "content": [IMAGE, SOUND, words("Which belongs to it?"), SOUND]}
    ],
    "two turns": [
        {"role": "user", "content": [words("Listen."), SOUND]},
        {"role": "assistant", "content": [words("I hear.")]},
        {"role": "user", "content": [IMAGE, words("And"), SOUND, words("this?"), IMAGE]},
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
    without_video: Any = type("WithoutVideo", (processor_class,), parts)
    pictures, sounds = Gemma4ImageProcessorPil(max_soft_tokens=70), EXTRACTORS[kind]()
    return without_video(sounds, pictures, tokenizer, None, chat_template=speech.template)


def ours(directory: Path, kind: MediaSpeech, template: bool = True) -> tuple[Speech, MediaSpelling]:
    release = sealed(directory)
    write_media_speech(release, kind, template)
    speech = speech_of(PlacedRelease.open(release))
    marks: dict[RowKind, ImageMarks | SoundMarks] = {"image": kind.marks}
    if kind.sounds is not None:
        marks["sound"] = kind.sounds
    return speech, MediaSpelling.of(marks, speech.tokenizer)


def rows_of(theirs: list[int], spelling: MediaSpelling) -> MediaRows:
    """Lengths of the runs of soft tokens."""
    return {each.kind: _runs(theirs, each.id) for each in spelling.kinds}


def _runs(theirs: list[int], soft: int) -> list[int]:
    edges = np.flatnonzero(np.diff(np.pad(np.array(theirs) == soft, 1).astype(int)))
    return [int(each) for each in edges[1::2] - edges[::2]]


def check(found: MediaPrompt, theirs: list[int], rows: MediaRows, spelling: MediaSpelling) -> None:
    assert found.tokens == theirs
    for each in spelling.kinds:
        starts = [place.start for place in found.places if place.of == each.kind]
        for start, length in zip(starts, rows[each.kind], strict=True):
            assert theirs[start : start + length] == [each.id] * length
            assert theirs[start - 1] != each.id != theirs[start + length]


@pytest.mark.parametrize("name", CONVERSATIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_conversation_has_the_tokens_of_transformers(kind: str, name: str, tmp_path: Path) -> None:
    speech, spelling = ours(tmp_path, KINDS[kind][0])
    theirs = asked(processor(kind, tmp_path / "release"), CONVERSATIONS[name])
    rows = rows_of(theirs, spelling)
    check(speech.conversation(CONVERSATIONS[name], rows, spelling), theirs, rows, spelling)


@pytest.mark.parametrize("name", HEARD)
@pytest.mark.parametrize("kind", EXTRACTORS)
def test_sounds_have_the_tokens_of_transformers(kind: str, name: str, tmp_path: Path) -> None:
    speech, spelling = ours(tmp_path, KINDS[kind][0])
    theirs = asked(processor(kind, tmp_path / "release"), HEARD[name])
    rows = rows_of(theirs, spelling)
    how = spectra() if kind == "Gemma 4" else pieces()
    heard = [prepared_sound(each, how).soft_tokens for each in SOUNDS]
    assert rows["sound"] == heard[: len(rows["sound"])]
    check(speech.conversation(HEARD[name], rows, spelling), theirs, rows, spelling)


def asked(processor: Any, messages: list[dict[str, Any]]) -> list[int]:
    """transformers' tokens, as many pictures and sounds given as the messages have places."""
    places = [part for message in messages for part in message["content"]]
    pictures = [Image.fromarray(noise(*size)) for size, _ in zip(SIZES, _only(places, IMAGE), strict=False)]
    sounds = [each for each, _ in zip(SOUNDS, _only(places, SOUND), strict=False)]
    prompt = processor.apply_chat_template(messages, add_generation_prompt=True)
    given = ({"images": [pictures]} if pictures else {}) | ({"audio": sounds} if sounds else {})
    found: list[int] = processor(text=[prompt], add_special_tokens=False, **given)["input_ids"][0]
    return found


def _only(places: list[dict[str, Any]], kind: dict[str, Any]) -> list[dict[str, Any]]:
    return [each for each in places if each == kind]


@pytest.mark.parametrize("images", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_a_text_without_a_template_has_the_tokens_of_transformers(
    kind: str, images: int, tmp_path: Path
) -> None:
    speech, spelling = ours(tmp_path, KINDS[kind][0], template=False)
    pictures = [Image.fromarray(noise(*size)) for size in SIZES[:images]]
    text = " ".join([spelling.kinds[0].placeholder] * images) + " in this image, there is"
    theirs = processor(kind, tmp_path / "release")(images=[pictures], text=[text])["input_ids"][0]
    rows = rows_of(theirs, spelling)
    found = speech.media_prompt("in this image, there is", rows, spelling)
    check(found, [2, *theirs], rows, spelling)
