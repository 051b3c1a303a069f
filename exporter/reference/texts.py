"""The text a model is measured on, as tokens of one sequence.

Long enough to run past every small model's window. Not about what is done with it. The pieces ship in
`samples/evaluation`.
"""

from __future__ import annotations

import hashlib
import tempfile
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from exporter.checkpoints.interface import CheckpointSource
from exporter.errors import TokenizerError, UsageError
from exporter.resources import data_directory
from runtimes.excerpt import excerpt, plain_excerpt
from runtimes.session import Tokens

TOKENIZER_NAME = "tokenizer.json"
BETWEEN = "\n\n"  # pieces of a joined text
FETCH_AGAIN = "fetch the checkpoint's tokenizer.json again"


@dataclass(frozen=True)
class JoinedFile:
    """A file of a text that is joined from several. first, stop: its tokens are [first, stop) of the text's
    before it was cut."""

    name: str
    first: int
    stop: int


@dataclass(frozen=True)
class TokenisedText:
    """tokens: [tokens] int32, the beginning-of-text token first. available: how many there were before
    it was cut. pieces: what it is joined from, none for a text that is one by itself."""

    name: str
    tokens: Tokens
    available: int
    pieces: tuple[JoinedFile, ...] = ()

    @property
    def held(self) -> str:
        """The pieces that its tokens reach, and of which only the beginning is there."""
        kept = len(self.tokens)
        every = self.pieces or (JoinedFile(self.name, 1, self.available),)
        reached = [piece for piece in every if piece.first < kept] or [every[0]]
        return ", ".join(
            piece.name if piece.stop <= kept else f"the beginning of {piece.name}" for piece in reached
        )

    @property
    def sha256(self) -> str:
        """Of the tokens as little-endian int32, so that figures can be repeated."""
        return hashlib.sha256(self.tokens.astype("<i4").tobytes()).hexdigest()

    def cut(self, tokens: int | None) -> TokenisedText:
        """The first `tokens` of it, all of it for None."""
        return replace(self, tokens=self.tokens[:tokens])


@dataclass(frozen=True)
class Texts:
    """What ships in `samples/`, in one checkpoint's tokens: each text is tokenised once, when it is first
    asked for.

    rows: of the embedding. A tokenizer may have more tokens than that; a text that holds one of those
    raises TokenizerError, as no model can be given it.
    """

    tokenizer: Tokenizer
    bos_token: int
    rows: int

    @staticmethod
    def of(source: CheckpointSource) -> Texts:
        """In the tokens of a checkpoint. Raises TokenizerError where it has no tokenizer, and where the
        evaluation text has a token without a row: every export is measured on it."""
        with tempfile.TemporaryDirectory() as place:
            source.write_tokenizer(Path(place))
            tokenizer = load_tokenizer(Path(place) / TOKENIZER_NAME)
        texts = Texts(tokenizer, source.tokens.bos_token, source.components["text"].spec.vocab_size)
        _ = texts.evaluation
        return texts

    @cached_property
    def evaluation(self) -> TokenisedText:
        return self._read("evaluation")

    @property
    def vocabulary(self) -> dict[str, int]:
        """Ids of all tokens, the added ones too."""
        found: dict[str, int] = self.tokenizer.get_vocab(with_added_tokens=True)
        return found

    def prompt(self, text: str) -> Tokens:
        """A prompt as a model is given it, [tokens]."""
        return np.concatenate([np.array([self.bos_token], np.int32), self.piece(text)])

    def piece(self, text: str) -> Tokens:
        """A piece of a prompt, [tokens]."""
        tokens = np.array(self.tokenizer.encode(text, add_special_tokens=False).ids, np.int32)
        self._require_rows(f"the prompt {excerpt(text)}", tokens)
        return tokens

    def tokenised(self, name: str, text: str) -> TokenisedText:
        """A text of the caller's. Raises TokenizerError for a token without a row."""
        tokens = begun(text, self.tokenizer, self.bos_token)
        self._require_rows(f"the {name} text", tokens)
        return TokenisedText(name, tokens, len(tokens))

    def _read(self, name: str) -> TokenisedText:
        text = read_text(data_directory("samples") / name, self.tokenizer, self.bos_token)
        self._require_rows(f"the {name} text", text.tokens)
        return text

    def _require_rows(self, what: str, tokens: Tokens) -> None:
        beyond = tokens[tokens >= self.rows].tolist()
        if beyond:
            name = excerpt(self.tokenizer.id_to_token(beyond[0]))
            raise TokenizerError(
                what,
                f"holds token {beyond[0]} ({name}), and the embedding has {self.rows} rows",
                "take the token out of the tokenizer, or give the model its enlarged embedding",
            )


def load_tokenizer(path: Path, otherwise: str = FETCH_AGAIN) -> Tokenizer:
    """The tokenizer in a tokenizer.json, neither cutting nor padding. Raises TokenizerError for none.

    otherwise: what to do about a file that cannot be read, which depends on where it is from.
    """
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the Rust library raises bare Exception
        raise TokenizerError(
            path,
            f"cannot be read ({plain_excerpt(error)})",
            otherwise,
        ) from error
    tokenizer.no_truncation()  # a training leaves both behind
    tokenizer.no_padding()
    return tokenizer


def begun(text: str, tokenizer: Tokenizer, bos_token: int) -> Tokens:
    """A text's tokens behind the beginning of text, [tokens]."""
    return np.array([bos_token, *tokenizer.encode(text, add_special_tokens=False).ids], np.int32)


def read_text(directory: Path, tokenizer: Tokenizer, bos_token: int) -> TokenisedText:
    """The .txt files of `directory`, joined in name order with empty lines.

    Raises UsageError when there is no text.
    """
    files = sorted(directory.glob("*.txt"))
    if not files:
        raise UsageError(directory, "holds no .txt file to evaluate on", "name a directory that does")
    names = [file.stem for file in files]
    texts = [file.read_text(encoding="utf-8").strip() for file in files]
    encoding = tokenizer.encode(BETWEEN.join(texts), add_special_tokens=False)
    tokens = np.array([bos_token, *encoding.ids], np.int32)
    # One more than in the encoding, which has no beginning of text.
    starts = [1 + at for at in _tokens_from(texts, encoding.offsets)]
    pieces = map(JoinedFile, names, starts, [*starts[1:], len(tokens)])
    return TokenisedText(", ".join(names), tokens, len(tokens), tuple(pieces))


def _tokens_from(texts: Sequence[str], offsets: Sequence[tuple[int, int]]) -> Iterator[int]:
    """The first token that holds something of each text, by the characters each token was made from."""
    ends = [end for _, end in offsets]
    start = 0
    for text in texts:
        yield bisect_left(ends, start + 1)
        start += len(text) + len(BETWEEN)
