"""`MediaSpelling`: how images and sounds stand in a prompt's text and then in its tokens, as transformers'
processors write them.

Each placeholder becomes the begin mark, the soft token as often as the image or sound has rows, and the end
mark, around images with Gemma 3's line breaks, before the text is cut into tokens: breaks join those of the
text. Not about rendering a chat template, nor about where rows come from.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from exporter.errors import TokenizerError, UsageError
from runtimes.excerpt import excerpt
from runtimes.images.processing import PROCESSING_NAME, ImageMarks
from runtimes.multimodal.placing import ROWS_OF
from runtimes.multimodal.session import RowKind
from runtimes.sounds.processing import SOUND_PROCESSING_NAME, SoundMarks

BREAKS = "\n\n"
KINDS: tuple[RowKind, ...] = ("image", "sound")
PART_TYPES: Mapping[RowKind, str] = {"image": "image", "sound": "audio"}
"""What chat templates call a part of a message."""
FILES: Mapping[RowKind, str] = {"image": PROCESSING_NAME, "sound": SOUND_PROCESSING_NAME}

MediaRows = Mapping[RowKind, Sequence[int]]
"""How many rows each image has, and each sound, in their order in the prompt. A kind may be absent."""


@dataclass(frozen=True)
class Spelling:
    """Of one kind. id: of the soft token. soft, begin, end: tokens as the tokenizer writes them. around:
    line breaks, on both sides."""

    kind: RowKind
    id: int
    placeholder: str
    soft: str
    begin: str
    end: str
    around: str

    @classmethod
    def of(cls, kind: RowKind, marks: ImageMarks | SoundMarks, tokenizer: Any) -> Self:
        """Raises TokenizerError for a tokenizer that knows one of the marks not, and for a placeholder that
        is none of them."""
        found = []
        for token in (marks.soft, marks.begin, marks.end):
            text = tokenizer.id_to_token(token)
            if not text or tokenizer.encode(text, add_special_tokens=False).ids != [token]:
                what = f"has no token {token}, a mark of {kind}s in {FILES[kind]}"
                raise TokenizerError("tokenizer.json", what, "copy the release again")
            found.append(text)
        if marks.placeholder not in found:
            what = f"$.marks.placeholder {excerpt(marks.placeholder)} is none of {', '.join(found)}"
            raise TokenizerError(FILES[kind], what, "copy the release again")
        around = BREAKS if isinstance(marks, ImageMarks) and marks.line_breaks else ""
        soft, begin, end = found
        return cls(kind, marks.soft, marks.placeholder, soft, begin, end, around)

    def written(self, rows: int) -> str:
        return f"{self.around}{self.begin}{self.soft * rows}{self.end}{self.around}"

    def starts(self, tokens: Sequence[int], rows: Sequence[int]) -> Iterator[int]:
        """Where the rows of each go. Raises UsageError for a text that itself writes soft tokens."""
        places = np.flatnonzero(np.array(tokens) == self.id)
        ends = np.cumsum(rows, dtype=np.int64)
        found = [places[end - each : end] for each, end in zip(rows, ends, strict=True)]
        if len(places) != sum(rows) or any(each[-1] - each[0] != len(each) - 1 for each in found):
            does = {"image": "seen", "sound": "heard"}[self.kind]
            what = f"holds {self.soft}, which stands for what is {does} of {ROWS_OF[self.kind]}"
            raise UsageError("PROMPT", what, "leave it out")
        return (int(each[0]) for each in found)


@dataclass(frozen=True)
class MediaPlace:
    """start: the first of the tokens that stand for rows of an image or a sound."""

    of: RowKind
    start: int


@dataclass(frozen=True)
class MediaSpelling:
    """kinds: of all that a release takes."""

    kinds: tuple[Spelling, ...]

    @classmethod
    def of(cls, marks: Mapping[RowKind, ImageMarks | SoundMarks], tokenizer: Any) -> Self:
        """Raises TokenizerError as `Spelling.of`, and for two kinds that are written alike."""
        found = tuple(Spelling.of(kind, marks[kind], tokenizer) for kind in KINDS if kind in marks)
        if len({each.id for each in found}) < len(found):
            what = f"and {FILES['sound']} have the same id for a row"
            raise TokenizerError(PROCESSING_NAME, what, "copy the release again")
        return cls(found)

    def parts(self, text: str, rows: MediaRows) -> list[dict[str, Any]]:
        """Contents of a user's message: what the text has placeholders for is there, the rest before it."""
        self._require_places(text, rows)
        before = [{"type": PART_TYPES[each.kind]} for each in self._unplaced(text, rows)]
        pieces = list(self._pieces(text))
        if len(pieces) == 1:
            return [*before, {"type": "text", "text": text}]
        return before + [
            {"type": "text", "text": each} if isinstance(each, str) else {"type": PART_TYPES[each.kind]}
            for each in pieces
            if each != ""
        ]

    def begun(self, text: str, rows: MediaRows) -> str:
        """A text without a template: as `parts`, with placeholders."""
        self._require_places(text, rows)
        before = [each.placeholder for each in self._unplaced(text, rows)]
        return " ".join([*before, text] if text else before)

    def expanded(self, text: str, rows: MediaRows) -> str:
        """Raises TokenizerError for other than as many placeholders."""
        for each in self.kinds:
            given, found = len(rows.get(each.kind, ())), text.count(each.placeholder)
            if found != given:
                raise TokenizerError(
                    "the chat template",
                    f"writes {found} times {each.placeholder} for {counted_media(each.kind, given)}",
                    "give the prompt with --no-template",
                )
        left = {kind: iter(each) for kind, each in rows.items()}
        return "".join(
            each if isinstance(each, str) else each.written(next(left[each.kind]))
            for each in self._pieces(text)
        )

    def places(self, tokens: Sequence[int], rows: MediaRows) -> tuple[MediaPlace, ...]:
        """Of all images and sounds, from the first on. Raises UsageError as `Spelling.starts`."""
        found = [
            MediaPlace(each.kind, start)
            for each in self.kinds
            for start in each.starts(tokens, rows.get(each.kind, ()))
        ]
        return tuple(sorted(found, key=lambda each: each.start))

    def _pieces(self, text: str) -> Iterator[str | Spelling]:
        """Texts, the first and the last too, with a spelling between for each placeholder."""
        known = {each.placeholder: each for each in self.kinds}
        pattern = "|".join(map(re.escape, known))
        for each in re.split(f"({pattern})", text):
            yield known.get(each, each)

    def _unplaced(self, text: str, rows: MediaRows) -> Iterator[Spelling]:
        """One for each image and then each sound, of kinds that the text has no placeholder of."""
        for each in self.kinds:
            if each.placeholder not in text:
                yield from [each] * len(rows.get(each.kind, ()))

    def _require_places(self, text: str, rows: MediaRows) -> None:
        """Raise UsageError for placeholders that are not one for each of their kind."""
        for each in self.kinds:
            given, found = len(rows.get(each.kind, ())), text.count(each.placeholder)
            if given and found not in (0, given):
                raise UsageError(
                    "PROMPT",
                    f"has {found} times {each.placeholder}, and {counted_media(each.kind, given)} "
                    f"{'was' if given == 1 else 'were'} given",
                    f"write it once for each {each.kind}, or not at all: they then come before the text",
                )


def counted_media(kind: RowKind, count: int) -> str:
    return f"{count} {kind}{'' if count == 1 else 's'}"
