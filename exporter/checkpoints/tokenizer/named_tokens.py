"""`NamedTokens`: what the tokens of a vocabulary are called, as far as special tokens and templates go.

Not about encoding text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from exporter.checkpoints.files.checkpoint_directory import CheckpointDirectory
from exporter.checkpoints.files.hub_layout import SENTENCEPIECE, TOKENIZER
from exporter.checkpoints.tokenizer.added_tokens import read_added_tokens, require_named, with_added
from exporter.checkpoints.tokenizer.sentencepiece_model import read_sentencepiece
from exporter.checkpoints.tokenizer.vocabulary import PieceKind, Vocabulary
from exporter.errors import TokenizerError
from runtimes.excerpt import plain_excerpt


@dataclass(frozen=True)
class NamedTokens:
    """added: ids of the tokens that text is searched for before any merging, by name. size: of all."""

    added: Mapping[str, int]
    size: int

    @staticmethod
    def of(vocabulary: Vocabulary) -> NamedTokens:
        kinds = (PieceKind.CONTROL, PieceKind.UNKNOWN, PieceKind.USER_DEFINED)
        return NamedTokens(
            {vocabulary.pieces[i]: i for i in vocabulary.ids(*kinds)}, len(vocabulary.pieces)
        )

    @staticmethod
    def read(directory: CheckpointDirectory) -> NamedTokens:
        """Of a directory's tokenizer. Raises TokenizerError for one that cannot be read."""
        if not directory.has(TOKENIZER):
            return NamedTokens.of(read_extended_vocabulary(directory))
        from tokenizers import Tokenizer  # here: it loads a native library

        path = directory.file(TOKENIZER)
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises plain Exception
            raise TokenizerError(
                path, f"cannot be read as a tokenizer ({plain_excerpt(error)})", "fetch it again"
            ) from error
        added = tokenizer.get_added_tokens_decoder()
        return NamedTokens(
            {token.content: i for i, token in sorted(added.items())},
            tokenizer.get_vocab_size(with_added_tokens=True),
        )

    def name(self, token: int) -> str | None:
        """What a token is called, None for one of the text's own."""
        return next((name for name, i in self.added.items() if i == token), None)


def read_extended_vocabulary(directory: CheckpointDirectory) -> Vocabulary:
    """Of a tokenizer.model and what was added to it. Raises TokenizerError."""
    path = directory.file(SENTENCEPIECE)
    vocabulary = with_added(read_sentencepiece(path), read_added_tokens(directory), path)
    require_named(directory, vocabulary)
    return vocabulary
