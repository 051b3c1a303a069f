"""Tokens that stand with images or with sounds are there, and stand with nothing else.

Rows would go where those of the other belong, or where a text begins or ends. Not about ids that differ
among themselves or have no row (`exporter.models.vision`, `exporter.models.audio`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from exporter.checkpoints.interface import TokenFacts
from exporter.checkpoints.tokenizer.named_tokens import NamedTokens
from exporter.errors import SpecError, TokenizerError
from runtimes.images.processing import ImageProcessing
from runtimes.sounds.processing import SoundProcessing


def require_marks_apart(
    where: Path, tokens: TokenFacts, images: ImageProcessing | None, sounds: SoundProcessing | None
) -> None:
    """where: config.json. images, sounds: None where none are taken. Raises SpecError."""
    of_images = () if images is None else (images.marks.soft, images.marks.begin, images.marks.end)
    of_sounds = () if sounds is None else (sounds.marks.soft, sounds.marks.begin, sounds.marks.end)
    if both := sorted({*of_images} & {*of_sounds}):
        raise SpecError(
            where,
            f"has token {both[0]} for images and for sounds",
            "correct it, fetch it again, or give --components text,vision, which leaves sounds out",
        )
    of_text = dict(_of_text(tokens))
    for taken, what, others in (
        (of_images, "images", "text" if sounds is None else "text,audio"),
        (of_sounds, "sounds", "text" if images is None else "text,vision"),
    ):
        if wrong := sorted(of_text.keys() & {*taken}):
            raise SpecError(
                where,
                f"has token {wrong[0]} for {what}, and it is {of_text[wrong[0]]}",
                f"correct it, fetch it again, or give --components {others}, which leaves {what} out",
            )


def require_placeholders(
    where: Path, names: NamedTokens, images: ImageProcessing | None, sounds: SoundProcessing | None
) -> None:
    """Raise TokenizerError for a tokenizer put in place of the one these were read with, which calls their
    tokens otherwise: prompts would have no place for them. where: it lies."""
    for what, found in (("images", images), ("sounds", sounds)):
        if found is None:
            continue
        marks = found.marks
        missing = [token for token in (marks.soft, marks.begin, marks.end) if names.name(token) is None]
        placed = names.added.get(marks.placeholder)
        if not missing and placed in (marks.soft, marks.begin):
            continue
        lacks = f"token {missing[0]}" if missing else marks.placeholder
        raise TokenizerError(
            where,
            f"the tokenizer lacks {lacks}, which stands with {what} in the model's own",
            "save it with the model's tokenizer, or give --components text",
        )


def _of_text(tokens: TokenFacts) -> Iterator[tuple[int, str]]:
    """Tokens, and what each is; what says most comes last."""
    for token in sorted(tokens.written):
        yield token, "one that the chat template puts around text"
    for token in tokens.stop_tokens:
        yield token, "one that ends an answer"
    yield tokens.pad_token, "the pad token"
    yield tokens.eos_token, "the end of a text"
    yield tokens.bos_token, "the beginning of a text"
