"""Where a prompt with images is cut, and what its masks are read from. Not about running a call."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from runtimes.errors import ArtifactError, SessionError
from runtimes.litert.attention_masks import CAUSAL, AttentionMasks, masks_of
from runtimes.litert.placed_calls import PlacedCalls
from runtimes.multimodal.session import PlacedRows
from runtimes.session import SessionFacts

FACTS = SessionFacts(
    "LiteRT", "2", "fp32", vocab_size=512, context=64, prefill_chunk=4, prefill_logits="none"
)
TOKENS = np.arange(30, dtype=np.int32)
BOTH = b"\x0a\x06\x1a\x04\x08\x03\x10\x03"
SLIDING = b"\x0a\x06\x1a\x04\x08\x01\x10\x03"


def image(start: int, rows: int) -> PlacedRows:
    return PlacedRows(start, np.zeros((rows, 8), np.float32))


def sound(start: int, rows: int) -> PlacedRows:
    return PlacedRows(start, np.zeros((rows, 8), np.float32), "sound")


def cut(
    chunk: int, *placed: PlacedRows, whole: bool = True
) -> list[tuple[int, int, list[tuple[int, int]]]]:
    calls = PlacedCalls(replace(FACTS, prefill_chunk=chunk), whole).of(TOKENS, 0, placed)
    return [
        (call.position, call.count, [(each.start, each.stop) for each in call.placed]) for call in calls
    ]


def test_an_image_lies_in_one_call_with_what_stands_around_it() -> None:
    calls = cut(16, image(10, 5), image(16, 12))
    assert calls == [(0, 16, [(10, 15)]), (16, 14, [(0, 12)])]


def test_a_call_ends_before_an_image_that_it_would_cut() -> None:
    assert [each[:2] for each in cut(8, image(10, 7))] == [(0, 8), (8, 2), (10, 8), (18, 8), (26, 4)]


def test_an_image_is_cut_where_its_tokens_do_not_see_each_other() -> None:
    assert [each[2] for each in cut(4, image(2, 5), whole=False)][:3] == [[(2, 4)], [(0, 3)], []]


def test_a_sound_is_cut_whatever_images_are() -> None:
    assert [each[2] for each in cut(4, sound(2, 5), whole=False)][:3] == [[(2, 4)], [(0, 3)], []]
    assert cut(8, sound(5, 6), image(12, 5))[:3] == [(0, 8, [(5, 8)]), (8, 4, [(0, 3)]), (12, 8, [(0, 5)])]
    assert len(cut(8, sound(1, 20))) == 4


def test_an_image_that_fits_no_call_is_refused() -> None:
    with pytest.raises(SessionError, match="an image of 20 tokens does not fit into a call of 16"):
        cut(16, image(3, 20))


def test_masks_are_what_the_metadata_says() -> None:
    path = Path("m")
    assert masks_of(None, path) == masks_of(b"", path) == CAUSAL
    assert masks_of(BOTH, path) == AttentionMasks(full_blocks=True, sliding_blocks=True)
    assert not masks_of(BOTH, path).two
    assert masks_of(SLIDING, path).two
    with pytest.raises(ArtifactError, match="damaged"):
        masks_of(SLIDING[:-3], path)
