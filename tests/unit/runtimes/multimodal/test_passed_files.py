"""What passes between processes comes back as it was, and how a prompt is given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtimes.errors import NoRoomForCall
from runtimes.images.prepared import PreparedImage
from runtimes.multimodal.fed_prompt import FedPrompt, behind_each
from runtimes.multimodal.passed_files import (
    ROWS,
    read_numbers,
    read_prompts,
    read_samples,
    write_numbers,
    write_prompts,
    write_samples,
)
from runtimes.multimodal.session import PlacedRows
from runtimes.session import SessionFacts
from runtimes.sounds.prepared import PreparedSound


def numbers(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(len(shape)).normal(0, 1, shape).astype(np.float32)


class Counting:
    """A `MultimodalSession` whose logits are the position; it has no room for a picture behind a place."""

    facts = SessionFacts("Counting", "1", "fp32", 4, 64, 4, "last")
    furthest = 20

    def __init__(self) -> None:
        self.position, self.given = 0, list[tuple[str, int]]()

    def reset(self) -> None:
        self.position, self.given = 0, []

    def prefill(self, tokens: Any) -> NDArray[np.float32]:
        return self._back("prefill", len(tokens))[None]

    def prefill_with_rows(self, tokens: Any, placed: Any) -> NDArray[np.float32]:
        if self.position + placed[0].start > self.furthest:
            raise NoRoomForCall("no room")
        return self._back(f"rows at {placed[0].start}", len(tokens))[None]

    def decode(self, token: int) -> NDArray[np.float32]:
        return self._back("decode", 1)

    def _back(self, call: str, tokens: int) -> NDArray[np.float32]:
        self.position += tokens
        self.given.append((call, tokens))
        return np.full(4, self.position, np.float32)


def prompt(start: int) -> FedPrompt:
    """Rows from there on in a call of 10 tokens, 5 tokens behind it, the last 3 of which are decoded."""
    placed = PlacedRows(start + 2, numbers(4, 8), "sound")
    tokens = np.arange(start + 15, dtype=np.int32)
    return FedPrompt(tokens, (placed,), (start, start + 10), start + 12)


def test_samples_rows_and_prompts_come_back_as_they_were(tmp_path: Path) -> None:
    samples = (
        PreparedImage(numbers(1, 4, 6), np.arange(8, dtype=np.int32).reshape(1, 4, 2), 1),
        PreparedSound(numbers(1, 7, 3), 2),
        PreparedImage(numbers(1, 3, 4, 4), None, 4),
    )
    write_samples(tmp_path, samples)
    patches, sound, square = read_samples(tmp_path)
    assert isinstance(patches, PreparedImage)
    assert isinstance(sound, PreparedSound)
    assert isinstance(square, PreparedImage)
    assert patches.positions is not None
    np.testing.assert_array_equal(patches.positions, samples[0].positions)
    np.testing.assert_array_equal(sound.features, samples[1].features)
    assert (sound.soft_tokens, square.positions) == (2, None)
    two = PlacedRows(2, numbers(3, 8)), PlacedRows(6, numbers(2, 8), "sound")
    prompts = FedPrompt(np.arange(12, dtype=np.int32), two, (1, 9), 10), prompt(3)
    write_prompts(tmp_path, prompts)
    for wanted, found in zip(prompts, read_prompts(tmp_path), strict=True):
        assert (wanted.called, wanted.decoded) == (found.called, found.decoded)
        np.testing.assert_array_equal(wanted.tokens, found.tokens)
        for before, after in zip(wanted.placed, found.placed, strict=True):
            assert (before.start, before.of) == (after.start, after.of)
            np.testing.assert_array_equal(before.rows, after.rows)
    write_numbers(tmp_path / ROWS, [numbers(2, 3), numbers(0, 3)])
    assert [each.shape for each in read_numbers(tmp_path / ROWS)] == [(2, 3), (0, 3)]


def test_a_prompt_is_given_by_chunks_a_call_with_rows_and_tokens_by_themselves() -> None:
    session, told = Counting(), list[str]()
    (logits,) = behind_each(session, [prompt(6)], told.append)  # type: ignore[arg-type]  # it has what is used
    assert session.given[:4] == [("prefill", 4), ("prefill", 2), ("rows at 2", 10), ("prefill", 2)]
    assert session.given[4:] == [("decode", 1)] * 3
    assert logits[:, 0].tolist() == [19, 20, 21]
    assert told == ["prompt 0, of 21 tokens"]


def test_a_prompt_there_is_no_room_for_has_no_logits_and_the_others_theirs() -> None:
    found = behind_each(Counting(), [prompt(30), prompt(0)], lambda said: None)  # type: ignore[arg-type]
    assert [len(each) for each in found] == [0, 3]
