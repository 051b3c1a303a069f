"""`TriedPrompt`: pictures at different places of a text, and how a session is given it.

At the start, in the middle of a call, two in one call, with a sliding window of text before and behind it,
and the same text without one. Text comes from the evaluation text: what it says does not matter, only that
logits behind the pictures are those of transformers. Not about what pictures show (`image_answers`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtimes.images.prepared import ImageRows
from runtimes.images.processing import ImageMarks
from runtimes.images.session import ImageSession, PlacedImage
from runtimes.session import Logits, Session, Tokens

BEFORE, BEHIND, DECODED = (
    12,
    8,
    16,
)  # tokens of text: before a picture, behind it at once, behind it one by one
START, MIDDLE, TWO = "picture at the start", "picture in the middle", "two pictures"
BEHIND_WINDOW = "picture behind a window of text"
BEFORE_WINDOW = "picture before a window of text"
ALONE = "the same text without a picture"
WITH_WINDOW = (BEHIND_WINDOW, BEFORE_WINDOW)
PLACES = (START, MIDDLE, TWO, *WITH_WINDOW)


@dataclass(frozen=True)
class PlacedPicture:
    """number: of the picture. start: of its rows among the tokens. stop: behind them."""

    number: int
    start: int
    stop: int


@dataclass(frozen=True)
class TriedPrompt:
    """tokens: [tokens], the last of which is only predicted. called: [start, stop) of the call that is
    given pictures; text before and behind it has calls of its own, the last `DECODED` tokens one each."""

    name: str
    tokens: Tokens
    pictures: tuple[PlacedPicture, ...]
    called: tuple[int, int]

    @property
    def at(self) -> NDArray[np.int64]:
        """Positions whose logits are compared: of text behind a picture in its call, and those decoded."""
        begin = self.pictures[0].stop if self.pictures else self.called[1]
        inside = {at for each in self.pictures for at in range(each.start, each.stop)}
        in_call = [at for at in range(begin, self.called[1]) if at not in inside]
        return np.array([*in_call, *range(self.decoded, len(self.tokens) - 1)])

    @property
    def decoded(self) -> int:
        """The first position whose token is given by itself."""
        return len(self.tokens) - 1 - DECODED

    def images(self, rows: Sequence[ImageRows]) -> tuple[PlacedImage, ...]:
        """rows: of each picture, by number."""
        return tuple(PlacedImage(each.start, rows[each.number]) for each in self.pictures)


@dataclass(frozen=True)
class PromptParts:
    """What prompts are put together from. around: tokens of text, enough of them. breaks: what stands
    before and behind a picture. soft_tokens: of each. window: the model's longest, None for none."""

    bos_token: int
    around: Tokens
    marks: ImageMarks
    breaks: Tokens
    soft_tokens: tuple[int, ...]
    window: int | None

    def image(self, number: int) -> Tokens:
        """A picture's marks, with the id of a row in place of each."""
        marks, soft = self.marks, self.soft_tokens[number]
        rows = np.full(soft, marks.soft, np.int32)
        breaks = self.breaks if marks.line_breaks else self.breaks[:0]
        begin, end = np.array([marks.begin], np.int32), np.array([marks.end], np.int32)
        return np.concatenate([breaks, begin, rows, end, breaks])


def image_prompts(parts: PromptParts, context: int) -> tuple[TriedPrompt, ...]:
    """Those that a cache of `context` positions holds, the one without a picture last."""
    window = 0 if parts.window is None else parts.window
    found = [
        _prompt(parts, START, 0, (0,), BEHIND),
        _prompt(parts, MIDDLE, BEFORE, (0,), BEHIND),
    ]
    if len(parts.soft_tokens) > 1:
        found.append(_prompt(parts, TWO, BEFORE, (0, 1), BEHIND))
    if window:
        last = len(parts.soft_tokens) - 1
        found.append(_prompt(parts, BEHIND_WINDOW, window + 5, (last,), BEHIND))
        found.append(_prompt(parts, BEFORE_WINDOW, 0, (last,), window + 5))
    found.append(_prompt(parts, ALONE, BEFORE, (), BEHIND))
    return tuple(each for each in found if len(each.tokens) <= context)


def places_left_out(parts: PromptParts, tried: Sequence[TriedPrompt], context: int) -> Iterator[str]:
    """Where pictures were not tried and what kept them from it, a sentence each; nothing about windows of
    a model that has none."""
    missing = [name for name in PLACES if name not in {each.name for each in tried}]
    if parts.window is None:
        missing = [name for name in missing if name not in WITH_WINDOW]
    if TWO in missing and len(parts.soft_tokens) == 1:
        missing.remove(TWO)
        yield "A prompt with two pictures was not tried, as one picture alone was."
    if missing:
        yield f"Not tried, as the context of {context:,} tokens is too short: {', '.join(missing)}."


def _prompt(
    parts: PromptParts, name: str, before: int, numbers: tuple[int, ...], behind: int
) -> TriedPrompt:
    text = parts.around
    pieces = [np.array([parts.bos_token], np.int32), text[:before]]
    length, used, pictures = 1 + before, before, []
    for number in numbers:
        image = parts.image(number)
        (inside,) = np.nonzero(image == parts.marks.soft)
        pictures.append(
            PlacedPicture(number, length + int(inside[0]), length + int(inside[0]) + len(inside))
        )
        pieces += [image, text[used : used + BEHIND]]
        length, used = length + len(image) + BEHIND, used + BEHIND
    called = (max(0, 1 + before - BEFORE) if before > BEFORE else 0, length)
    rest = behind - BEHIND if numbers else behind
    pieces.append(text[used : used + rest + DECODED + 1])
    tokens: Tokens = np.concatenate(pieces).astype(np.int32)
    return TriedPrompt(name, tokens, tuple(pictures), called)


@dataclass(frozen=True)
class Returned:
    """at: indices in `TriedPrompt.at` of what a session returned logits for. logits: [at, vocab]."""

    at: NDArray[np.int64]
    logits: Logits


def given(session: ImageSession, prompt: TriedPrompt, rows: Sequence[ImageRows]) -> Returned:
    """What an opened artifact says to a prompt. rows: of each picture, by number."""
    return _returned(prompt, _calls(session, prompt, rows))


def given_text(session: Session, prompt: TriedPrompt) -> Returned:
    """The same of an artifact that takes text alone, to a prompt without a picture."""
    return _returned(prompt, _text_calls(session, prompt))


def _returned(prompt: TriedPrompt, calls: Iterator[tuple[int, Logits]]) -> Returned:
    wanted = {int(position): index for index, position in enumerate(prompt.at)}
    found: dict[int, NDArray[np.float32]] = {}
    for first, logits in calls:
        for row, position in enumerate(range(first, first + len(logits))):
            if position in wanted:
                found[wanted[position]] = logits[row].copy()
    at = sorted(found)
    return Returned(np.array(at), np.stack([found[each] for each in at]))


def _calls(
    session: ImageSession, prompt: TriedPrompt, rows: Sequence[ImageRows]
) -> Iterator[tuple[int, Logits]]:
    tokens, (start, stop) = prompt.tokens, prompt.called
    session.reset()
    yield from _text(session, tokens, 0, start)
    images = [PlacedImage(each.start - start, each.rows) for each in prompt.images(rows)]
    logits = session.prefill_with_images(tokens[start:stop], images)
    yield stop - len(logits), logits
    yield from _text(session, tokens, stop, prompt.decoded)
    yield from _decoded(session, prompt)


def _text_calls(session: Session, prompt: TriedPrompt) -> Iterator[tuple[int, Logits]]:
    session.reset()
    yield from _text(session, prompt.tokens, 0, prompt.decoded)
    yield from _decoded(session, prompt)


def _decoded(session: Session, prompt: TriedPrompt) -> Iterator[tuple[int, Logits]]:
    for position in range(prompt.decoded, len(prompt.tokens) - 1):
        yield position, session.decode(int(prompt.tokens[position]))[None]


def _text(session: Session, tokens: Tokens, start: int, stop: int) -> Iterator[tuple[int, Logits]]:
    chunk = session.facts.prefill_chunk
    for first in range(start, stop, chunk):
        end = min(stop, first + chunk)
        logits = session.prefill(tokens[first:end])
        yield end - len(logits), logits
