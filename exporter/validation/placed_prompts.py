"""`TriedPrompt`: pictures or sounds at different places of a text, and how a session is given it.

At the start, in the middle of a call, two in one call, with a sliding window of text before and behind it,
and the same text without one; a sound with a picture behind it where the release takes both, whose rows
are the next sound's: a decoder sees no more of a picture than that. Text comes from the evaluation text:
what it says does not matter, only that logits behind the rows are those of transformers. Not about what
samples show or sound like (`rows_answers`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exporter.validation.samples import Marks
from runtimes.encoder import EncodedRows
from runtimes.images.processing import ImageMarks
from runtimes.multimodal.fed_prompt import FedPrompt, fed, fed_as_text
from runtimes.multimodal.session import MultimodalSession, PlacedRows, RowKind
from runtimes.session import Logits, Session, Tokens

# Tokens of text: before a sample, behind it at once, behind it one by one.
BEFORE, BEHIND, DECODED = 12, 8, 16
START, MIDDLE, TWO = "{} at the start", "{} in the middle", "two {}s"
BEHIND_WINDOW = "{} behind a window of text"
BEFORE_WINDOW = "{} before a window of text"
ALONE = "the same text without a {}"
BESIDE = "{} before a picture"
WITH_WINDOW = (BEHIND_WINDOW, BEFORE_WINDOW)
WITH_SECOND = (TWO, BESIDE)
PLACES = (START, MIDDLE, TWO, *WITH_WINDOW)


def named_places(sample: str) -> tuple[str, ...]:
    """What prompts are called, of pictures or of sounds."""
    return tuple(each.format(sample) for each in PLACES)


@dataclass(frozen=True)
class PlacedSample:
    """number: of the picture or sound. start: of its rows among the tokens. stop: behind them. of: what
    they are given as."""

    number: int
    start: int
    stop: int
    of: RowKind


@dataclass(frozen=True)
class TriedPrompt:
    """tokens: [tokens], the last of which is only predicted. called: [start, stop) of the call that is
    given rows; text before and behind it has calls of its own, the last `DECODED` tokens one each."""

    name: str
    tokens: Tokens
    samples: tuple[PlacedSample, ...]
    called: tuple[int, int]

    @property
    def at(self) -> NDArray[np.int64]:
        """Positions whose logits are compared: of text behind a sample in its call, and those decoded."""
        begin = self.samples[0].stop if self.samples else self.called[1]
        inside = {at for each in self.samples for at in range(each.start, each.stop)}
        in_call = [at for at in range(begin, self.called[1]) if at not in inside]
        return np.array([*in_call, *range(self.decoded, len(self.tokens) - 1)])

    @property
    def decoded(self) -> int:
        """The first position whose token is given by itself."""
        return len(self.tokens) - 1 - DECODED

    def placed(self, rows: Sequence[EncodedRows]) -> tuple[PlacedRows, ...]:
        """rows: of each sample, by number."""
        return tuple(PlacedRows(each.start, rows[each.number], each.of) for each in self.samples)

    def fed(self, rows: Sequence[EncodedRows]) -> FedPrompt:
        """What a session is given. rows: as of `placed`."""
        return FedPrompt(self.tokens[:-1], self.placed(rows), self.called, self.decoded)

    @property
    def kinds(self) -> frozenset[RowKind]:
        """What a decoder has to take."""
        return frozenset(each.of for each in self.samples)


@dataclass(frozen=True)
class PromptParts:
    """What prompts are put together from. of, sample: what rows are rows of, and what that is called.
    around: tokens of text, enough of them. marks: of all that the release takes. breaks: what stands before
    and behind a picture of some families. soft_tokens: of each sample. window: the model's longest, None
    for none."""

    of: RowKind
    sample: str
    bos_token: int
    around: Tokens
    marks: Mapping[RowKind, Marks]
    breaks: Tokens
    soft_tokens: tuple[int, ...]
    window: int | None

    def marked(self, number: int, of: RowKind) -> Tokens:
        """A sample's marks, with the id of a row in place of each."""
        marks, breaks = self.marks[of], self._breaks(of)
        rows = np.full(self.soft_tokens[number], marks.soft, np.int32)
        begin, end = np.array([marks.begin], np.int32), np.array([marks.end], np.int32)
        return np.concatenate([breaks, begin, rows, end, breaks])

    def rows_in(self, number: int, of: RowKind) -> tuple[int, int]:
        """[start, stop) of its rows among `marked`."""
        start = len(self._breaks(of)) + 1
        return start, start + self.soft_tokens[number]

    @property
    def names(self) -> tuple[str, ...]:
        """What the prompts with samples are called."""
        beside = (BESIDE.format(self.sample),) if self.takes_both else ()
        return (*named_places(self.sample), *beside)

    @property
    def takes_both(self) -> bool:
        """Sounds, which these prompts are of, and pictures."""
        return self.of == "sound" and "image" in self.marks

    def _breaks(self, of: RowKind) -> Tokens:
        marks = self.marks[of]
        return self.breaks if isinstance(marks, ImageMarks) and marks.line_breaks else self.breaks[:0]


def placed_prompts(parts: PromptParts, context: int) -> tuple[TriedPrompt, ...]:
    """Those that a cache of `context` positions holds, the one without a sample last."""
    window = 0 if parts.window is None else parts.window
    found = [
        _prompt(parts, START, 0, ((0, parts.of),), BEHIND),
        _prompt(parts, MIDDLE, BEFORE, ((0, parts.of),), BEHIND),
    ]
    if len(parts.soft_tokens) > 1:
        found.append(_prompt(parts, TWO, BEFORE, ((0, parts.of), (1, parts.of)), BEHIND))
        if parts.takes_both:
            found.append(_prompt(parts, BESIDE, BEFORE, ((0, parts.of), (1, "image")), BEHIND))
    if window:
        last = len(parts.soft_tokens) - 1
        found.append(_prompt(parts, BEHIND_WINDOW, window + 5, ((last, parts.of),), BEHIND))
        found.append(_prompt(parts, BEFORE_WINDOW, 0, ((last, parts.of),), window + 5))
    found.append(_prompt(parts, ALONE, BEFORE, (), BEHIND))
    return tuple(each for each in found if len(each.tokens) <= context)


def places_left_out(parts: PromptParts, tried: Sequence[TriedPrompt], context: int) -> Iterator[str]:
    """Where samples were not tried and what kept them from it, a sentence each; nothing about windows of a
    model that has none."""
    missing = [name for name in parts.names if name not in {each.name for each in tried}]
    if parts.window is None:
        missing = _without(WITH_WINDOW, parts.sample, missing)
    if len(parts.soft_tokens) == 1:
        with_one = _without(WITH_SECOND, parts.sample, missing)
        for name in missing:
            if name not in with_one:
                yield f"A prompt with {name} was not tried, as one {parts.sample} alone was."
        missing = with_one
    if missing:
        yield f"Not tried, as the context of {context:,} tokens is too short: {', '.join(missing)}."


def _without(places: Sequence[str], sample: str, names: Sequence[str]) -> list[str]:
    these = [each.format(sample) for each in places]
    return [name for name in names if name not in these]


def _prompt(
    parts: PromptParts, place: str, before: int, given_as: tuple[tuple[int, RowKind], ...], behind: int
) -> TriedPrompt:
    text = parts.around
    pieces = [np.array([parts.bos_token], np.int32), text[:before]]
    length, used, samples = 1 + before, before, []
    for number, of in given_as:
        marked, (start, stop) = parts.marked(number, of), parts.rows_in(number, of)
        samples.append(PlacedSample(number, length + start, length + stop, of))
        pieces += [marked, text[used : used + BEHIND]]
        length, used = length + len(marked) + BEHIND, used + BEHIND
    called = (max(0, 1 + before - BEFORE) if before > BEFORE else 0, length)
    rest = behind - BEHIND if given_as else behind
    pieces.append(text[used : used + rest + DECODED + 1])
    tokens: Tokens = np.concatenate(pieces).astype(np.int32)
    return TriedPrompt(place.format(parts.sample), tokens, tuple(samples), called)


@dataclass(frozen=True)
class Returned:
    """at: indices in `TriedPrompt.at` of what a session returned logits for. logits: [at, vocab]."""

    at: NDArray[np.int64]
    logits: Logits


def given(session: MultimodalSession, prompt: TriedPrompt, rows: Sequence[EncodedRows]) -> Returned:
    """What an opened artifact says to a prompt. rows: of each sample, by number."""
    return _returned(prompt, fed(session, prompt.fed(rows)))


def given_text(session: Session, prompt: TriedPrompt) -> Returned:
    """The same of an artifact that takes text alone, to a prompt without a sample."""
    return _returned(prompt, fed_as_text(session, prompt.fed(())))


def _returned(prompt: TriedPrompt, calls: Iterator[tuple[int, Logits]]) -> Returned:
    wanted = {int(position): index for index, position in enumerate(prompt.at)}
    found: dict[int, NDArray[np.float32]] = {}
    for first, logits in calls:
        for row, position in enumerate(range(first, first + len(logits))):
            if position in wanted:
                found[wanted[position]] = logits[row].copy()
    at = sorted(found)
    return Returned(np.array(at), np.stack([found[each] for each in at]))
