"""tokenizer_config.json as transformers has it: with special_tokens_map.json over it, and the names
that GemmaTokenizer has of its own.

Not about ids, nor about config.json, whose tokens `generate` takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from exporter.checkpoints.files.checkpoint_directory import CheckpointDirectory
from exporter.checkpoints.files.hub_layout import SPECIAL_TOKENS_MAP, TOKENIZER_CONFIG

DECODER = "added_tokens_decoder"
EXTRA, CLASS = "extra_special_tokens", "tokenizer_class"
# What a tokenizer is called where nothing else is said; of others we know no names.
GEMMA_CLASSES = (None, "GemmaTokenizer", "GemmaTokenizerFast")
GEMMA_NAMES = {"bos_token": "<bos>", "eos_token": "<eos>"}


def read_tokenizer_config(directory: CheckpointDirectory) -> dict[str, Any]:
    """Empty where there is none. Raises CheckpointError for files that are no JSON objects.

    special_tokens_map.json counts for more, except beside an added_tokens_decoder: then transformers does
    not look at it.
    """
    config = _stated(directory)
    for key, entry in _over(directory, config).items():
        if key == EXTRA and isinstance(entry, list) and isinstance(config.get(EXTRA), list):
            config[EXTRA] = [*config[EXTRA], *(each for each in entry if each not in config[EXTRA])]
        elif key == EXTRA or key.endswith("_token"):
            config[key] = entry
    if config and config.get(CLASS) in GEMMA_CLASSES:
        config |= {key: name for key, name in GEMMA_NAMES.items() if key not in config}
    return config


def eos_stated_by(directory: CheckpointDirectory) -> str:
    """Which file says what the tokenizer's end of text is."""
    return SPECIAL_TOKENS_MAP if "eos_token" in _over(directory, _stated(directory)) else TOKENIZER_CONFIG


def _stated(directory: CheckpointDirectory) -> dict[str, Any]:
    return dict(directory.json(TOKENIZER_CONFIG)) if directory.has(TOKENIZER_CONFIG) else {}


def _over(directory: CheckpointDirectory, config: Mapping[str, Any]) -> dict[str, Any]:
    """What counts for more than tokenizer_config.json."""
    if DECODER in config or not directory.has(SPECIAL_TOKENS_MAP):
        return {}
    return directory.json(SPECIAL_TOKENS_MAP)


def special_names(config: Mapping[str, Any]) -> dict[str, str]:
    """What templates know special tokens by, and how those are spelled."""
    entries = {key: entry for key, entry in config.items() if key.endswith("_token")}
    if isinstance(config.get(EXTRA), dict):
        entries |= config[EXTRA]
    names = {key: name_of(entry) for key, entry in entries.items()}
    return {key: name for key, name in names.items() if name is not None}


def name_of(entry: object) -> str | None:
    """A token's text, which files write bare or as an object with its flags."""
    found = entry.get("content") if isinstance(entry, dict) else entry
    return found if isinstance(found, str) else None
