"""Prompts with pictures: what is left out, and why."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from exporter.validation.image_prompts import PromptParts, image_prompts, places_left_out
from runtimes.images.processing import ImageMarks

MARKS = ImageMarks(soft=7, begin=8, end=9, line_breaks=False, placeholder="<image>")
PARTS = PromptParts(2, np.zeros(200, np.int32), MARKS, np.zeros(0, np.int32), (4, 4), window=32)


def left_out(parts: PromptParts, context: int) -> list[str]:
    return list(places_left_out(parts, image_prompts(parts, context), context))


def test_where_everything_is_tried_there_is_nothing_to_say() -> None:
    assert left_out(PARTS, 200) == []


def test_a_short_context_is_said_to_be_what_left_prompts_out() -> None:
    (said,) = left_out(PARTS, 64)
    assert said.startswith("Not tried, as the context of 64 tokens is too short")
    assert said.endswith(": picture behind a window of text.")


def test_one_picture_alone_is_said_to_be_what_left_two_out() -> None:
    (said,) = left_out(replace(PARTS, soft_tokens=(4,)), 200)
    assert said == "A prompt with two pictures was not tried, as one picture alone was."


def test_a_model_without_windows_is_not_said_to_lack_them() -> None:
    assert left_out(replace(PARTS, window=None), 200) == []
