"""`ImageSpelling`: how images stand in a prompt's text and then in its tokens, as transformers' processors
write them.

Each placeholder becomes the begin mark, the soft token as often as the image has rows, and the end mark,
with Gemma 3's line breaks around them, before the text is cut into tokens: breaks join those of the text.
Not about rendering a chat template, nor about where rows come from.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from exporter.errors import TokenizerError, UsageError
from runtimes.excerpt import excerpt
from runtimes.images.processing import PROCESSING_NAME, ImageMarks

BREAKS = "\n\n"


@dataclass(frozen=True)
class ImageSpelling:
    """soft, begin, end: the tokens of `marks` as the tokenizer writes them."""

    marks: ImageMarks
    soft: str
    begin: str
    end: str

    @classmethod
    def of(cls, marks: ImageMarks, tokenizer: Any) -> Self:
        """Raises TokenizerError for a tokenizer that knows one of the marks not, and for a placeholder that
        is none of them."""
        found = []
        for token in (marks.soft, marks.begin, marks.end):
            text = tokenizer.id_to_token(token)
            if not text or tokenizer.encode(text, add_special_tokens=False).ids != [token]:
                what = f"has no token {token}, a mark of images in {PROCESSING_NAME}"
                raise TokenizerError("tokenizer.json", what, "copy the release again")
            found.append(text)
        if marks.placeholder not in found:
            what = f"$.marks.placeholder {excerpt(marks.placeholder)} is none of {', '.join(found)}"
            raise TokenizerError(PROCESSING_NAME, what, "copy the release again")
        return cls(marks, *found)

    def parts(self, text: str, images: int) -> list[dict[str, Any]]:
        """Contents of a user's message: images where the text has placeholders, or all before it."""
        pieces = self._pieces(text, images)
        if len(pieces) == 1:
            return [{"type": "image"}] * images + [{"type": "text", "text": text}]
        return [part for part in _between(pieces) if part.get("text") != ""]

    def begun(self, text: str, images: int) -> str:
        """A text without a template: with placeholders as it has them, or with all before it."""
        if len(self._pieces(text, images)) > 1:
            return text
        return " ".join([self.marks.placeholder] * images + ([text] if text else []))

    def expanded(self, text: str, rows: Sequence[int]) -> str:
        """rows: of each image, in order. Raises TokenizerError for other than as many placeholders."""
        pieces = text.split(self.marks.placeholder)
        if len(pieces) - 1 != len(rows):
            raise TokenizerError(
                "the chat template",
                f"writes {len(pieces) - 1} times {self.marks.placeholder} for {counted_images(len(rows))}",
                "give the prompt with --no-template",
            )
        around = BREAKS if self.marks.line_breaks else ""
        written = [f"{around}{self.begin}{self.soft * each}{self.end}{around}" for each in rows]
        return "".join(piece + image for piece, image in zip(pieces, [*written, ""], strict=True))

    def starts(self, tokens: Sequence[int], rows: Sequence[int]) -> tuple[int, ...]:
        """Where the rows of each image go. Raises UsageError for a text that itself writes soft tokens."""
        places = np.flatnonzero(np.array(tokens) == self.marks.soft)
        ends = np.cumsum(rows)
        found = [places[end - each : end] for each, end in zip(rows, ends, strict=True)]
        if len(places) != sum(rows) or any(each[-1] - each[0] != len(each) - 1 for each in found):
            raise UsageError(
                "PROMPT", f"holds {self.soft}, which stands for what is seen of an image", "leave it out"
            )
        return tuple(int(each[0]) for each in found)

    def _pieces(self, text: str, images: int) -> list[str]:
        """The text between placeholders. Raises UsageError for some that are not one for each image."""
        pieces = text.split(self.marks.placeholder)
        if len(pieces) - 1 not in (0, images):
            raise UsageError(
                "PROMPT",
                f"has {len(pieces) - 1} times {self.marks.placeholder}, and {counted_images(images)} "
                f"{'was' if images == 1 else 'were'} given",
                "write it once for each image, or not at all: they then come before the text",
            )
        return pieces


def counted_images(count: int) -> str:
    return f"{count} image{'' if count == 1 else 's'}"


def _between(pieces: Sequence[str]) -> Iterator[dict[str, Any]]:
    for i, piece in enumerate(pieces):
        if i > 0:
            yield {"type": "image"}
        yield {"type": "text", "text": piece}
