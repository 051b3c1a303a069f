"""Jinja source in pieces, and whole again.

Not about what any engine makes of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

TRIMMING = ("{%-", "{{-", "{#-")


@dataclass(frozen=True)
class SourcePiece:
    """kind: as Jinja's lexer calls it."""

    kind: str
    text: str


def split_source(template: str, trim: bool = False) -> list[SourcePiece] | None:
    """Every piece, None for what is no Jinja. Blanks before a tag's `-` are lost, which loses no text.

    trim: without the blanks around blocks that transformers leaves out (`trim_blocks`, `lstrip_blocks`).
    """
    import jinja2  # here: base models come without a template

    environment = jinja2.Environment(trim_blocks=trim, lstrip_blocks=trim, keep_trailing_newline=True)
    try:
        return [SourcePiece(kind, text) for _, kind, text in environment.lex(template)]
    except jinja2.TemplateSyntaxError:
        return None


def join_source(of: Sequence[SourcePiece]) -> str:
    """The source again."""
    return "".join(_apart(of))


def _apart(of: Sequence[SourcePiece]) -> Iterator[str]:
    """With a blank again between text that ends in `{` and a tag that trims what is before it: without one
    the brace would open another tag."""
    before = ""
    for piece in of:
        if before.endswith("{") and piece.text.startswith(TRIMMING):
            yield " "
        yield piece.text
        before = piece.text
