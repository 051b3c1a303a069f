"""`NamedTokens`: what the tokens of a vocabulary are called, as far as special tokens and templates go.

Not about encoding text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from exporter.checkpoints.files.checkpoint_directory import CheckpointDirectory
from exporter.checkpoints.files.hub_layout import SENTENCEPIECE, TOKENIZER
from exporter.checkpoints.tokenizer.added_tokens import read_added_tokens, require_named, with_added
from exporter.checkpoints.tokenizer.sentencepiece_model import read_sentencepiece
from exporter.checkpoints.tokenizer.tokenizer_config import read_tokenizer_config, special_names
from exporter.checkpoints.tokenizer.transformers_additions import read_used_tokenizer
from exporter.checkpoints.tokenizer.vocabulary import PieceKind, Vocabulary


@dataclass(frozen=True)
class NamedTokens:
    """added: ids of the tokens that text is searched for before any merging, by name. size: of all.

    special: how the tokenizer spells bos_token and the like; None where it says nothing of its own.
    remarks: what of its file is not used, a sentence each.
    """

    added: Mapping[str, int]
    size: int
    special: Mapping[str, str] | None = None
    remarks: tuple[str, ...] = ()

    @staticmethod
    def of(vocabulary: Vocabulary) -> NamedTokens:
        kinds = (PieceKind.CONTROL, PieceKind.UNKNOWN, PieceKind.USER_DEFINED)
        return NamedTokens(
            {vocabulary.pieces[i]: i for i in vocabulary.ids(*kinds)}, len(vocabulary.pieces)
        )

    @staticmethod
    def read(directory: CheckpointDirectory) -> NamedTokens:
        """Of a directory's tokenizer. Raises TokenizerError for one that cannot be read."""
        config = read_tokenizer_config(directory)
        special = special_names(config) if config else None
        if not directory.has(TOKENIZER):
            return replace(NamedTokens.of(read_extended_vocabulary(directory)), special=special)
        used = read_used_tokenizer(directory)
        added = used.tokenizer.get_added_tokens_decoder()
        return NamedTokens(
            {token.content: i for i, token in sorted(added.items())},
            used.tokenizer.get_vocab_size(with_added_tokens=True),
            special,
            used.remarks,
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
