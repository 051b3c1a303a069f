"""What lies beside an adapter's weights: its own tokenizer, chat template and generation config.

Trainers save the tokenizer they trained with, and a base that was only pretrained has no chat template:
what the adapter has is taken, piece by piece, before the base's. Not about reading the files
(`exporter.checkpoints.tokenizer`) or weights.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from exporter.checkpoints.files.checkpoint_directory import CheckpointDirectory
from exporter.checkpoints.files.hub_layout import (
    ADDED_TOKENS,
    CHAT_TEMPLATE,
    CONFIG,
    GENERATION_CONFIG,
    PROCESSOR_TEMPLATE,
    SENTENCEPIECE,
    SPECIAL_TOKENS_MAP,
    TOKENIZER,
    TOKENIZER_CONFIG,
)
from exporter.checkpoints.interface import CheckpointSource, TokenFacts
from exporter.checkpoints.tokenizer.chat_templates import read_chat_template, write_chat_template
from exporter.checkpoints.tokenizer.directory_tokenizer import write_directory_tokenizer
from exporter.checkpoints.tokenizer.media_tokens import require_marks_apart, require_placeholders
from exporter.checkpoints.tokenizer.named_tokens import NamedTokens
from exporter.checkpoints.tokenizer.stop_tokens import StopsStated, complete
from exporter.checkpoints.tokenizer.tokenizer_config import name_of
from exporter.errors import TokenizerError
from runtimes.excerpt import excerpt

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TAKEN = (
    *(TOKENIZER, SENTENCEPIECE, TOKENIZER_CONFIG, ADDED_TOKENS),
    *(CHAT_TEMPLATE, PROCESSOR_TEMPLATE, GENERATION_CONFIG),
)
NOT_READ = {
    CONFIG: "the base's is the model's",
    SPECIAL_TOKENS_MAP: "there is no tokenizer beside it",
}


@dataclass(frozen=True)
class NamedEnds:
    """What a tokenizer says of itself, None where it says nothing. begins: the token that its text begins
    with. eos, bos: the tokens it is told to call so; bos_name: how the latter is spelled."""

    begins: int | None = None
    eos: int | None = None
    bos_name: str | None = None
    bos: int | None = None


@dataclass(frozen=True)
class Beside:
    """The adapter's files, over the base's. tokens: what they make of the base's facts."""

    directory: CheckpointDirectory
    base: CheckpointSource
    tokens: TokenFacts

    @staticmethod
    def read(directory: CheckpointDirectory, base: CheckpointSource, vocab_size: int) -> Beside:
        """vocab_size: rows of the merged model's embedding.

        Raises CheckpointError or TokenizerError for files that cannot be read, contradict one another, name
        a token the embedding has no row for, or lack one that stands with the base's images or sounds, and
        SpecError for one of those that ends text.
        """
        own = Beside(directory, base, replace(base.tokens, chat_template=_template(directory, base)))
        if not own.taken:
            return own
        tokens = own._stated_tokens()
        every = (tokens.bos_token, tokens.eos_token, tokens.pad_token, *tokens.stop_tokens)
        if max(every) >= vocab_size:
            raise TokenizerError(
                directory.path,
                f"token {max(every)} begins or ends text, and the embedding has {vocab_size} rows",
                "save the adapter with its enlarged embedding (save_embedding_layers=True)",
            )
        own = replace(own, tokens=tokens)
        with tempfile.TemporaryDirectory() as place:
            own.write_tokenizer(Path(place))
            names = NamedTokens.read(CheckpointDirectory(Path(place)))
        stated = [StopsStated("the adapter, before its base,", tokens.stop_tokens)]
        tokens = complete(directory.path, own.tokens, stated, names, vocab_size)
        require_placeholders(directory.path, names, base.images, base.sounds)
        require_marks_apart(directory.path, tokens, base.images, base.sounds)
        return replace(own, tokens=tokens)

    @property
    def taken(self) -> tuple[str, ...]:
        """Names of the adapter's files that are used."""
        return tuple(name for name in TAKEN if self.directory.has(name))

    def remarks(self) -> Iterator[str]:
        """Which files were taken, and which were not read and why, a sentence each."""
        if self.taken:
            yield f"Taken from the adapter's directory, before the base's: {', '.join(self.taken)}."
        if self._has_tokenizer and read_chat_template(self.directory) is None and self.tokens.chat_template:
            yield "The adapter's tokenizer has no chat template: the base's is kept."
        for name, why in NOT_READ.items():
            used = name == SPECIAL_TOKENS_MAP and self._has_tokenizer
            if self.directory.has(name) and not used:
                yield f"{name} in the adapter's directory is not read: {why}."

    def write_tokenizer(self, out: Path) -> None:
        """As `CheckpointSource.write_tokenizer` does."""
        if self._has_tokenizer:
            write_directory_tokenizer(self.directory, self.tokens, out)
        else:
            self.base.write_tokenizer(out)
            if self.directory.has(TOKENIZER_CONFIG):
                shutil.copyfile(self.directory.file(TOKENIZER_CONFIG), out / TOKENIZER_CONFIG)
        write_chat_template(self.tokens.chat_template, out)

    @property
    def _has_tokenizer(self) -> bool:
        return self.directory.has(TOKENIZER) or self.directory.has(SENTENCEPIECE)

    def _stated_tokens(self) -> TokenFacts:
        """The base's facts, with what the adapter's generation_config.json and tokenizer_config.json state:
        the tokenizer's end of text comes first among the stop tokens."""
        generation = self.directory.json(GENERATION_CONFIG) if self.directory.has(GENERATION_CONFIG) else {}
        base = self.tokens
        stops = self._ids(generation.get("eos_token_id")) or base.stop_tokens
        named = self._named()
        eos = named.eos
        if eos is None:
            eos = base.eos_token if base.eos_token in stops else stops[0]
        bos = next(iter(self._ids(generation.get("bos_token_id"))), base.bos_token)
        bos = bos if named.begins is None else named.begins
        return replace(
            base,
            bos_token=bos,
            pad_token=next(iter(self._ids(generation.get("pad_token_id"))), base.pad_token),
            eos_token=eos,
            stop_tokens=tuple(dict.fromkeys((eos, *stops))),
            remarks=tuple(_of_bos(named, bos, base.bos_token)),  # the base's are said anew
        )

    def _ids(self, value: object) -> tuple[int, ...]:
        ids = value if isinstance(value, list) else [] if value is None else [value]
        if not all(type(i) is int and i >= 0 for i in ids):
            raise TokenizerError(
                self.directory.path / GENERATION_CONFIG,
                f"expected token ids, got {excerpt(value)}",
                "mend it",
            )
        return tuple(ids)

    def _named(self) -> NamedEnds:
        """What the adapter's tokenizer_config.json calls the ends of text, and what text begins with."""
        config = self.directory.json(TOKENIZER_CONFIG) if self.directory.has(TOKENIZER_CONFIG) else {}
        bos, eos = (name_of(config.get(key)) for key in ("bos_token", "eos_token"))
        if bos is None and eos is None:
            return NamedEnds()
        from tokenizers import Tokenizer  # here: most adapters come without

        with tempfile.TemporaryDirectory() as place:
            self.write_tokenizer(Path(place))
            tokenizer = Tokenizer.from_file(str(Path(place) / TOKENIZER))
        # A tokenizer.json that was not made here begins text as it says, whatever is called bos beside it.
        made = self.directory.has(SENTENCEPIECE) and not self.directory.has(TOKENIZER)
        begun = None if made else next(iter(tokenizer.encode("").ids), None)
        named = self._id(tokenizer, "bos_token", bos)
        return NamedEnds(
            named if begun is None else begun, self._id(tokenizer, "eos_token", eos), bos, named
        )

    def _id(self, tokenizer: Tokenizer, key: str, piece: str | None) -> int | None:
        found = None if piece is None else tokenizer.token_to_id(piece)
        if piece is not None and found is None:
            raise TokenizerError(
                self.directory.path / TOKENIZER_CONFIG,
                f"its {key} {excerpt(piece)} is not in the vocabulary",
                "put the tokenizer it was saved with beside it",
            )
        return found


def _of_bos(named: NamedEnds, begins: int, base: int) -> Iterator[str]:
    """What whoever expects the base's start of text should know."""
    if named.bos is not None and named.bos != begins:
        yield (
            f"The adapter's tokenizer_config.json calls {named.bos_name:.100} ({named.bos}) the bos token, "
            f"and its tokenizer.json begins text with token {begins}: every format does so, as "
            "transformers does."
        )
    if begins != base:
        yield f"Text begins with token {begins}, as the adapter says; the base's begins with {base}."


def _template(directory: CheckpointDirectory, base: CheckpointSource) -> str | None:
    own = read_chat_template(directory)
    return base.tokens.chat_template if own is None else own
