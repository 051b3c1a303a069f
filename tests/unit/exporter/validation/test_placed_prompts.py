"""Prompts with pictures or sounds: what is left out, and why."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from exporter.validation.placed_prompts import PromptParts, placed_prompts, places_left_out
from runtimes.images.processing import ImageMarks
from runtimes.sounds.processing import SoundMarks

MARKS = ImageMarks(soft=7, begin=8, end=9, line_breaks=False, placeholder="<image>")
PICTURES = PromptParts(
    of="image",
    sample="picture",
    bos_token=2,
    around=np.zeros(200, np.int32),
    marks={"image": MARKS},
    breaks=np.zeros(0, np.int32),
    soft_tokens=(4, 4),
    window=32,
)
SOUNDS = replace(
    PICTURES, of="sound", sample="sound", marks={"sound": SoundMarks(10, 11, 12, "<audio>"), "image": MARKS}
)


def left_out(parts: PromptParts, context: int) -> list[str]:
    return list(places_left_out(parts, placed_prompts(parts, context), context))


@pytest.mark.parametrize("parts", [PICTURES, SOUNDS])
def test_where_everything_is_tried_there_is_nothing_to_say(parts: PromptParts) -> None:
    assert left_out(parts, 200) == []


@pytest.mark.parametrize("parts", [PICTURES, SOUNDS])
def test_a_short_context_is_said_to_be_what_left_prompts_out(parts: PromptParts) -> None:
    (said,) = left_out(parts, 64)
    assert said.startswith("Not tried, as the context of 64 tokens is too short")
    assert said.endswith(f": {parts.sample} behind a window of text.")


def test_one_picture_alone_is_said_to_be_what_left_two_out() -> None:
    (said,) = left_out(replace(PICTURES, soft_tokens=(4,)), 200)
    assert said == "A prompt with two pictures was not tried, as one picture alone was."


def test_one_sound_alone_is_said_to_be_what_left_out_a_picture_behind_it_too() -> None:
    assert left_out(replace(SOUNDS, soft_tokens=(4,)), 200) == [
        "A prompt with two sounds was not tried, as one sound alone was.",
        "A prompt with sound before a picture was not tried, as one sound alone was.",
    ]


@pytest.mark.parametrize("parts", [PICTURES, SOUNDS])
def test_a_model_without_windows_is_not_said_to_lack_them(parts: PromptParts) -> None:
    assert left_out(replace(parts, window=None), 200) == []
