"""The evaluation text as tokens: one sequence, long enough to run past every small model's window.

Not about what is done with it. The pieces ship in `samples/evaluation`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from exporter.errors import TokenizerError, UsageError
from runtimes.session import Tokens


@dataclass(frozen=True)
class EvaluationText:
    """tokens: [tokens] int32, the beginning-of-text token first. available: how many there were
    before a limit. sha256: of the tokens as little-endian int32, so that figures can be repeated."""

    name: str
    tokens: Tokens
    available: int
    sha256: str


def load_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer in a tokenizer.json. Raises TokenizerError when it cannot be read."""
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the Rust library raises bare Exception
        raise TokenizerError(
            path, f"cannot be read ({error})", "fetch the checkpoint's tokenizer.json again"
        ) from error


def read_evaluation_text(
    directory: Path, tokenizer: Tokenizer, bos_token: int, limit: int | None = None
) -> EvaluationText:
    """Join the .txt files of `directory` in name order with empty lines and tokenise them.

    limit: keep this many tokens at most (tiny models, models too slow for all of it). Raises
    UsageError when there is no text.
    """
    pieces = sorted(directory.glob("*.txt"))
    if not pieces:
        raise UsageError(directory, "holds no .txt file to evaluate on", "name a directory that does")
    text = "\n\n".join(piece.read_text(encoding="utf-8").strip() for piece in pieces)
    found = [bos_token, *tokenizer.encode(text, add_special_tokens=False).ids]
    tokens = np.array(found[:limit], np.int32)
    digest = hashlib.sha256(tokens.astype("<i4").tobytes()).hexdigest()
    return EvaluationText(", ".join(piece.stem for piece in pieces), tokens, len(found), digest)
