"""What a GGUF says of how its tokenizer treats a text: what it puts around it, and what it changes in it.

The first is honoured in the tokenizer files that are written. The second is nothing for every Gemma, so a
file that states something is refused by the key. Not about the vocabulary (`vocabulary_metadata`).
Source: llama.cpp src/llama-vocab.cpp, gguf-py's gguf/constants.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from exporter.checkpoints.gguf.file import GgufFile
from exporter.checkpoints.tokenizer.tokenizer_files import GEMMA, Around
from exporter.errors import TokenizerError
from runtimes.excerpt import excerpt

ADD_BOS, ADD_EOS = "tokenizer.ggml.add_bos_token", "tokenizer.ggml.add_eos_token"
# What each would do to a text before it is tokenised, where it is true.
CHANGES = {
    "tokenizer.ggml.add_space_prefix": "puts a blank before each text",
    "tokenizer.ggml.remove_extra_whitespaces": "takes blanks out of each text",
}
CHARACTER_MAP = "tokenizer.ggml.precompiled_charsmap"
ANOTHER_TOKENIZER = "give a Hugging Face directory with the model's own tokenizer.json"


@dataclass(frozen=True)
class TokenizerSettings:
    """remarks: where they are not what the file says, a sentence each."""

    around: Around
    remarks: tuple[str, ...] = ()


def read_tokenizer_settings(file: GgufFile) -> TokenizerSettings:
    """What is put around a text. Raises TokenizerError for what cannot be honoured or is mistyped."""
    for key, what in CHANGES.items():
        if _flag(file, key, False):
            raise TokenizerError(
                f"{file.path}: {key}", f"is true: it {what}, and no Gemma's does", ANOTHER_TOKENIZER
            )
    character_map = file.metadata.get(CHARACTER_MAP, ())
    if not isinstance(character_map, (tuple, np.ndarray)) or len(character_map):
        raise TokenizerError(
            f"{file.path}: {CHARACTER_MAP}",
            "is not empty: it changes letters of each text, and no Gemma's does",
            ANOTHER_TOKENIZER,
        )
    around = Around(_flag(file, ADD_BOS, GEMMA.bos), _flag(file, ADD_EOS, GEMMA.eos))
    if file.metadata.get("tokenizer.ggml.model") == "gemma4" and not around.bos:
        # Converters wrote false until April 2026, and llama.cpp overrides it in every Gemma 4.
        return TokenizerSettings(
            Around(True, around.eos),
            (
                f"The file says {ADD_BOS} = false, as older files of Gemma 4 do; the release's tokenizer "
                "begins a text with it all the same, as llama.cpp does.",
            ),
        )
    return TokenizerSettings(around)


def _flag(file: GgufFile, key: str, absent: bool) -> bool:
    value = file.metadata.get(key, absent)
    if isinstance(value, bool):
        return value
    raise TokenizerError(
        f"{file.path}: {key}", f"expected true or false, got {excerpt(value)}", "convert the model again"
    )
