"""The tokenizer of a Hub directory: tokenizer.json copied, or made from tokenizer.model.

Not about token ids and templates (`token_facts`) or the building itself (`tokenizer_files`).
"""

from __future__ import annotations

import shutil
from pathlib import Path

from exporter.checkpoints.files.checkpoint_directory import CheckpointDirectory
from exporter.checkpoints.files.hub_layout import CHAT_TEMPLATE, SENTENCEPIECE, TOKENIZER, TOKENIZER_CONFIG
from exporter.checkpoints.interface import TokenFacts
from exporter.checkpoints.tokenizer.added_tokens import read_added_tokens
from exporter.checkpoints.tokenizer.chat_templates import write_chat_template
from exporter.checkpoints.tokenizer.named_tokens import read_extended_vocabulary
from exporter.checkpoints.tokenizer.tokenizer_files import (
    Around,
    write_tokenizer_config,
    write_tokenizer_files,
)
from exporter.errors import TokenizerError
from runtimes.excerpt import excerpt, plain_excerpt


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
        write_tokenizer_files(
            read_extended_vocabulary(directory),
            tokens,
            out,
            read_added_tokens(directory),
            _around(directory),
        )
        return
    pieces = _token_strings(directory.file(TOKENIZER), tokens)
    for name in (TOKENIZER, TOKENIZER_CONFIG, CHAT_TEMPLATE):
        if directory.has(name):
            shutil.copyfile(directory.file(name), out / name)
    if not directory.has(TOKENIZER_CONFIG):
        write_tokenizer_config(*pieces, tokens.chat_template, out)
    write_chat_template(tokens.chat_template, out)


def _around(directory: CheckpointDirectory) -> Around:
    """As transformers reads it for a tokenizer.model: nothing is put around a text unless it is said."""
    config = directory.json(TOKENIZER_CONFIG) if directory.has(TOKENIZER_CONFIG) else {}
    found = {key: config.get(key, False) for key in ("add_bos_token", "add_eos_token")}
    for key, value in found.items():
        if not isinstance(value, bool):
            raise TokenizerError(
                f"{directory.path / TOKENIZER_CONFIG}: {key}",
                f"expected true or false, got {excerpt(value)}",
                "mend it",
            )
    return Around(found["add_bos_token"], found["add_eos_token"])


def _token_strings(path: Path, tokens: TokenFacts) -> tuple[str, str, str]:
    """bos, eos and pad as tokenizer.json spells them; reading them proves that it can be read."""
    from tokenizers import Tokenizer  # here: it is needed for nothing else, and loads a native library

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises plain Exception
        raise TokenizerError(
            path, f"cannot be read as a tokenizer ({plain_excerpt(error)})", "fetch it again"
        ) from error
    bos, eos, pad = (
        tokenizer.id_to_token(token) for token in (tokens.bos_token, tokens.eos_token, tokens.pad_token)
    )
    if bos is None or eos is None or pad is None:
        raise TokenizerError(
            path, "does not have the bos, eos or pad token config.json names", "fetch both again"
        )
    return bos, eos, pad
