"""`first_shared`: a passage that a text has in common with others, so that nothing is judged on what it was
fitted to. Not about similar text, only about the same."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

PASSAGE = 40  # characters, blanks counted once: shorter ones are figures of speech


def first_shared(text: str, others: Mapping[Path, str]) -> tuple[Path, str] | None:
    """The first passage of `text` that one of the others has too, and which; None where there is none."""
    plain = _plain(text)
    here = {plain[at : at + PASSAGE] for at in range(len(plain) - PASSAGE + 1)}
    for path, other in others.items():
        words = _plain(other)
        for at in range(len(words) - PASSAGE + 1):
            if (passage := words[at : at + PASSAGE]) in here:
                return path, passage
    return None


def _plain(text: str) -> str:
    return " ".join(text.split())
