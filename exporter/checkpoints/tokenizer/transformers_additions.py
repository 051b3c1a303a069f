"""A tokenizer.json as transformers uses it: with the tokens that tokenizer_config.json adds, and without
the cutting and padding a training left in it.

Not about a tokenizer.model (`added_tokens`), nor about which ids end a text (`token_facts`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from exporter.checkpoints.files.checkpoint_directory import CheckpointDirectory
from exporter.checkpoints.files.hub_layout import TOKENIZER
from exporter.checkpoints.tokenizer.added_tokens import AddedToken, decoder_of, special_of
from exporter.checkpoints.tokenizer.tokenizer_config import DECODER, read_tokenizer_config
from exporter.errors import TokenizerError
from runtimes.excerpt import plain_excerpt

if TYPE_CHECKING:
    from tokenizers import Tokenizer

LEFTOVERS = ("truncation", "padding")


@dataclass(frozen=True)
class UsedTokenizer:
    """changes: keys of tokenizer.json that are written anew; none where it is used as it is.
    remarks: what of it was left out, a sentence each."""

    tokenizer: Tokenizer
    changes: Mapping[str, Any]
    remarks: tuple[str, ...] = ()


def read_used_tokenizer(directory: CheckpointDirectory) -> UsedTokenizer:
    """Of a directory with a tokenizer.json. Raises TokenizerError for one that cannot be read."""
    from tokenizers import Tokenizer  # here: it loads a native library

    path = directory.file(TOKENIZER)
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises plain Exception
        raise TokenizerError(
            path, f"cannot be read as a tokenizer ({plain_excerpt(error)})", "fetch it again"
        ) from error
    # transformers sets both anew for every text.
    left = [key for key in LEFTOVERS if getattr(tokenizer, key) is not None]
    tokenizer.no_truncation()
    tokenizer.no_padding()
    changes: dict[str, Any] = dict.fromkeys(left)
    had = len(tokenizer.get_added_tokens_decoder())
    _add(tokenizer, directory)
    added = tokenizer.get_added_tokens_decoder()
    if len(added) != had:
        changes["added_tokens"] = list(_listed(added))
    remarks = [f"The {' and '.join(left)} that {TOKENIZER} sets are left out: transformers uses neither."]
    return UsedTokenizer(tokenizer, changes, tuple(remarks if left else ()))


def _add(tokenizer: Tokenizer, directory: CheckpointDirectory) -> None:
    """First the decoder's tokens, then special ones, as transformers does: one that is in the vocabulary
    keeps its id, whatever is stated, and one that is not is counted on behind it."""
    from tokenizers import AddedToken as Token

    config = read_tokenizer_config(directory)
    stated = decoder_of(directory, config[DECODER]) if DECODER in config else []
    known = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    flagged = [each for each in sorted(stated, key=lambda each: each.id) if each.content not in known]
    known.update(each.content for each in flagged)
    special = [name for name in special_of(config) if name and name not in known]
    tokenizer.add_tokens(
        [
            *(Token(each.content, **_flags(each)) for each in flagged),
            *(Token(name, special=True) for name in special),
        ]
    )


def _flags(token: AddedToken) -> dict[str, bool]:
    names = ("single_word", "lstrip", "rstrip", "normalized", "special")
    return {name: getattr(token, name) for name in names}


def _listed(added: Mapping[int, Any]) -> Iterator[dict[str, Any]]:
    for i, token in sorted(added.items()):
        yield {"id": i, "content": token.content, **_flags(token)}
