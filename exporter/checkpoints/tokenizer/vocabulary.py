"""`Vocabulary`: a Gemma's BPE vocabulary, as GGUF files and tokenizer.model hold it.

Not about tokenizer.json (`tokenizer_files` builds it from this).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence, Sized
from dataclasses import dataclass
from enum import IntEnum

from exporter.errors import TokenizerError
from runtimes.excerpt import excerpt

THEN = "fetch the checkpoint again"


class PieceKind(IntEnum):
    """SentencePiece's piece types; GGUF's token types have the same numbers."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True)
class Vocabulary:
    """Pieces by token id, with blanks written as U+2581 throughout.

    merges: pairs to join, best first, "left right", where they are listed; None where they follow from
    the scores.
    """

    pieces: tuple[str, ...]
    scores: tuple[float, ...]
    kinds: tuple[PieceKind, ...]
    merges: tuple[str, ...] | None = None

    @staticmethod
    def checked(
        where: object,
        pieces: Sequence[str],
        scores: Sequence[float],
        kinds: Sequence[int],
        merges: tuple[str, ...] | None = None,
    ) -> Vocabulary:
        """Raises TokenizerError for lengths, types or pieces that cannot be a vocabulary's."""
        Vocabulary.require_equal_lengths(where, pieces, scores, kinds)
        if unknown := set(kinds) - {kind.value for kind in PieceKind}:
            raise TokenizerError(where, f"the vocabulary has unknown token type {min(unknown)}", THEN)
        # Files made by llama.cpp write runs of blanks as blanks, SentencePiece as U+2581.
        spelled = tuple("▁" * len(piece) if piece and not piece.strip(" ") else piece for piece in pieces)
        if len(set(spelled)) != len(spelled):
            double = next(piece for piece, count in Counter(spelled).items() if count > 1)
            raise TokenizerError(where, f"the vocabulary has piece {excerpt(double)} twice", THEN)
        return Vocabulary(spelled, tuple(scores), tuple(PieceKind(kind) for kind in kinds), merges)

    @staticmethod
    def require_equal_lengths(where: object, pieces: Sized, scores: Sized, kinds: Sized) -> None:
        """Raises TokenizerError unless there is a score and a type for every piece."""
        if not len(pieces) == len(scores) == len(kinds):
            lengths = f"{len(pieces)} pieces, {len(scores)} scores and {len(kinds)} types"
            raise TokenizerError(where, f"the vocabulary has {lengths}", THEN)

    def ids(self, *kinds: PieceKind) -> Iterator[int]:
        """Ids of the pieces of these kinds, in order."""
        return (i for i, kind in enumerate(self.kinds) if kind in kinds)
