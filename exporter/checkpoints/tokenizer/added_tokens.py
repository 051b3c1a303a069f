"""Tokens added to a tokenizer.model afterwards: added_tokens_decoder in tokenizer_config.json, else
added_tokens.json, as transformers reads them.

Not about the model itself (`sentencepiece_model`), nor about a tokenizer.json, which lists its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from exporter.checkpoints.files.checkpoint_directory import CheckpointDirectory
from exporter.checkpoints.files.hub_layout import ADDED_TOKENS, TOKENIZER_CONFIG
from exporter.checkpoints.tokenizer.tokenizer_config import (
    DECODER,
    EXTRA,
    name_of,
    read_tokenizer_config,
    special_names,
)
from exporter.checkpoints.tokenizer.vocabulary import PieceKind, Vocabulary
from exporter.errors import TokenizerError
from runtimes.excerpt import excerpt

SPECIAL_KEYS = (
    "bos_token", "eos_token", "pad_token", "unk_token", "mask_token", "sep_token", "cls_token",
)  # fmt: skip
LISTS = ("additional_special_tokens", EXTRA)
SAVE_AGAIN = "save the tokenizer again with transformers, so that there is a tokenizer.json"


@dataclass(frozen=True)
class AddedToken:
    """A token found in text before any merging, with tokenizer.json's names for how."""

    id: int
    content: str
    single_word: bool
    lstrip: bool
    rstrip: bool
    normalized: bool
    special: bool


def read_added_tokens(directory: CheckpointDirectory) -> tuple[AddedToken, ...]:
    """In order of id; empty where nothing was added. Raises TokenizerError for files that contradict."""
    config = read_tokenizer_config(directory)
    listed = directory.json(ADDED_TOKENS) if directory.has(ADDED_TOKENS) else {}
    if DECODER in config:
        found = decoder_of(directory, config[DECODER])
        ids = {token.content: token.id for token in found}
        for content, i in listed.items():
            if ids.get(content) != i:
                raise TokenizerError(
                    directory.path / ADDED_TOKENS,
                    f"gives {content[:80]!r} the id {excerpt(i)}, {DECODER} in {TOKENIZER_CONFIG} "
                    + (f"{ids[content]}" if content in ids else "does not have it"),
                    SAVE_AGAIN,
                )
    else:
        special = special_of(config)
        found = [_plain(directory, content, i, content in special) for content, i in listed.items()]
    if len({token.id for token in found}) != len(found) or len({token.content for token in found}) != len(
        found
    ):
        raise TokenizerError(directory.path, "two added tokens have one id, or one name", SAVE_AGAIN)
    return tuple(sorted(found, key=lambda token: token.id))


def with_added(vocabulary: Vocabulary, added: tuple[AddedToken, ...], where: object) -> Vocabulary:
    """The vocabulary with the pieces that added tokens name.

    Raises TokenizerError for a token that has another id already, or another's, and for ids that leave one
    out.
    """
    pieces, known = list(vocabulary.pieces), {piece: i for i, piece in enumerate(vocabulary.pieces)}
    kinds = list(vocabulary.kinds)
    for token in added:
        if token.id < len(vocabulary.pieces) and vocabulary.pieces[token.id] != token.content:
            # transformers leaves the piece its id, and counts on behind the vocabulary for the token.
            raise TokenizerError(
                where,
                f"added token {excerpt(token.content)} has id {token.id}, which in the vocabulary is "
                f"{excerpt(vocabulary.pieces[token.id])}",
                SAVE_AGAIN,
            )
        if known.get(token.content, token.id) != token.id:
            raise TokenizerError(
                where,
                f"added token {token.content[:80]!r} has id {token.id}, "
                f"in the vocabulary {known[token.content]}",
                SAVE_AGAIN,
            )
        # Tokenizer libraries count on from the vocabulary, whatever a file says: the ids would differ.
        if token.id > len(pieces):
            raise TokenizerError(
                where,
                f"added token {token.content[:80]!r} has id {token.id}, the next is {len(pieces)}",
                SAVE_AGAIN,
            )
        # Found whole, whatever it is: no merge makes it.
        pieces[token.id : token.id + 1] = [token.content]
        kinds[token.id : token.id + 1] = [PieceKind.CONTROL]
    scores = (*vocabulary.scores, *(0.0 for _ in pieces[len(vocabulary.scores) :]))
    return replace(vocabulary, pieces=tuple(pieces), scores=scores, kinds=tuple(kinds))


def require_named(directory: CheckpointDirectory, vocabulary: Vocabulary) -> None:
    """Raise TokenizerError for a special token that is in no vocabulary: transformers appends such tokens,
    to ids that depend on its version and on which of them it knows by itself."""
    config = read_tokenizer_config(directory)
    if unknown := sorted(set(special_of(config)).difference(vocabulary.pieces)):
        raise TokenizerError(
            directory.path / TOKENIZER_CONFIG,
            f"names the special token {excerpt(unknown[0])}, which is not in the vocabulary",
            SAVE_AGAIN,
        )


def decoder_of(directory: CheckpointDirectory, stated: Any) -> list[AddedToken]:
    """What added_tokens_decoder states. Raises TokenizerError where that is no tokens by id."""
    where = f"{directory.path / TOKENIZER_CONFIG}: {DECODER}"
    if not isinstance(stated, dict):
        raise TokenizerError(where, "is not an object of tokens by id", SAVE_AGAIN)
    found = []
    for i, token in stated.items():
        content = name_of(token)
        if not (i.isascii() and i.isdigit() and len(i) < 10 and content and isinstance(token, dict)):
            raise TokenizerError(where, "is not an object of tokens by id", SAVE_AGAIN)
        special = token.get("special", False)
        # transformers' own default: text is searched for special tokens as it is.
        flags = {"special": special, "normalized": token.get("normalized", not special)}
        flags |= {flag: token.get(flag, False) for flag in ("single_word", "lstrip", "rstrip")}
        if not all(isinstance(value, bool) for value in flags.values()):
            raise TokenizerError(where, f"token {i} has a flag that is not true or false", SAVE_AGAIN)
        found.append(AddedToken(id=int(i), content=content, **flags))
    return found


def _plain(directory: CheckpointDirectory, content: str, i: Any, special: bool) -> AddedToken:
    if type(i) is not int or i < 0 or not content:
        raise TokenizerError(directory.path / ADDED_TOKENS, "is not an object of ids by token", SAVE_AGAIN)
    return AddedToken(i, content, False, False, False, not special, special)


def special_of(config: Mapping[str, Any]) -> tuple[str, ...]:
    """What tokenizer_config.json says is special: named tokens first, then those of lists."""
    listed = [entry for key in LISTS if isinstance(config.get(key), list) for entry in config[key]]
    names = special_names(config)
    ordered = [*(names.pop(key, None) for key in SPECIAL_KEYS), *names.values(), *map(name_of, listed)]
    return tuple(dict.fromkeys(name for name in ordered if name is not None))
