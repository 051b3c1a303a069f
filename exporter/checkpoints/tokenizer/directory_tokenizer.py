"""The tokenizer of a Hub directory: tokenizer.json copied, or made from tokenizer.model.

Not about token ids and templates (`token_facts`) or the building itself (`tokenizer_files`).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exporter.checkpoints.files.checkpoint_directory import CheckpointDirectory
from exporter.checkpoints.files.hub_layout import CHAT_TEMPLATE, SENTENCEPIECE, TOKENIZER, TOKENIZER_CONFIG
from exporter.checkpoints.interface import TokenFacts
from exporter.checkpoints.tokenizer.added_tokens import read_added_tokens
from exporter.checkpoints.tokenizer.chat_templates import write_chat_template
from exporter.checkpoints.tokenizer.named_tokens import read_extended_vocabulary
from exporter.checkpoints.tokenizer.tokenizer_config import read_tokenizer_config, special_names
from exporter.checkpoints.tokenizer.tokenizer_files import (
    Around,
    write_tokenizer_config,
    write_tokenizer_files,
)
from exporter.checkpoints.tokenizer.transformers_additions import read_used_tokenizer
from exporter.checkpoints.tokenizer.vocabulary import Vocabulary
from exporter.errors import TokenizerError
from runtimes.excerpt import excerpt

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def require_tokenizer(directory: CheckpointDirectory) -> None:
    """Raise TokenizerError for a directory that has none."""
    if not directory.has(TOKENIZER) and not directory.has(SENTENCEPIECE):
        raise TokenizerError(
            directory.path,
            f"there is no {TOKENIZER} and no {SENTENCEPIECE}",
            "fetch the checkpoint's tokenizer too",
        )


def write_directory_tokenizer(directory: CheckpointDirectory, tokens: TokenFacts, out: Path) -> None:
    """Write tokenizer.json and tokenizer_config.json into `out`.

    Raises TokenizerError for files that cannot be read or lack the tokens `tokens` names.
    """
    if not directory.has(TOKENIZER):
        vocabulary = read_extended_vocabulary(directory)
        own = _own(vocabulary, directory, tokens)
        write_tokenizer_files(vocabulary, own, out, read_added_tokens(directory), _around(directory))
        return
    used = read_used_tokenizer(directory)
    pieces = _token_strings(directory.file(TOKENIZER), used.tokenizer, tokens)
    for name in (TOKENIZER, TOKENIZER_CONFIG, CHAT_TEMPLATE):
        if directory.has(name):
            shutil.copyfile(directory.file(name), out / name)
    if used.changes:
        _rewrite(out / TOKENIZER, {**directory.json(TOKENIZER), **used.changes})
    if not directory.has(TOKENIZER_CONFIG):
        write_tokenizer_config(*pieces, tokens.chat_template, out)
    stated = CheckpointDirectory(out).json(TOKENIZER_CONFIG)
    if (config := {**stated, **read_tokenizer_config(directory)}) != stated:
        _rewrite(out / TOKENIZER_CONFIG, config)
    write_chat_template(tokens.chat_template, out)


def _rewrite(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def _own(vocabulary: Vocabulary, directory: CheckpointDirectory, tokens: TokenFacts) -> TokenFacts:
    """`tokens` with the ids of the tokenizer's own names, which transformers puts around texts."""
    names = special_names(read_tokenizer_config(directory))
    ids = {piece: i for i, piece in enumerate(vocabulary.pieces)}
    return replace(
        tokens,
        bos_token=ids.get(names.get("bos_token", ""), tokens.bos_token),
        eos_token=ids.get(names.get("eos_token", ""), tokens.eos_token),
        pad_token=ids.get(names.get("pad_token", ""), tokens.pad_token),
    )


def _around(directory: CheckpointDirectory) -> Around:
    """As transformers reads it for a tokenizer.model: nothing is put around a text unless it is said."""
    config = read_tokenizer_config(directory)
    found = {
        key: False if config.get(key) is None else config[key] for key in ("add_bos_token", "add_eos_token")
    }
    for key, value in found.items():
        if not isinstance(value, bool):
            raise TokenizerError(
                f"{directory.path / TOKENIZER_CONFIG}: {key}",
                f"expected true or false, got {excerpt(value)}",
                "mend it",
            )
    return Around(found["add_bos_token"], found["add_eos_token"])


def _token_strings(path: Path, tokenizer: Tokenizer, tokens: TokenFacts) -> tuple[str, str, str]:
    """bos, eos and pad as tokenizer.json spells them."""
    ids = {"bos": tokens.bos_token, "eos": tokens.eos_token, "pad": tokens.pad_token}
    names = {}
    for which, token in ids.items():
        if (name := tokenizer.id_to_token(token)) is None:
            raise TokenizerError(
                path,
                f"has no token {token}, which the model's configuration calls {which}_token_id",
                f"give {which}_token_id a token of the tokenizer's, or fetch both again",
            )
        names[which] = name
    return names["bos"], names["eos"], names["pad"]
