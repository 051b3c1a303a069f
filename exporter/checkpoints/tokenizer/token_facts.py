"""Which tokens begin and end text, and the chat template, from the JSON files of a Hub directory.

Not about the vocabulary itself, and not about GGUF (`gguf.vocabulary_metadata`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from exporter.checkpoints.files.checkpoint_directory import CheckpointDirectory
from exporter.checkpoints.files.hub_layout import CONFIG, GENERATION_CONFIG
from exporter.checkpoints.interface import TokenFacts
from exporter.checkpoints.tokenizer.chat_templates import find_chat_template
from exporter.checkpoints.tokenizer.named_tokens import NamedTokens
from exporter.checkpoints.tokenizer.stop_tokens import StopsStated, complete
from exporter.checkpoints.tokenizer.tokenizer_config import eos_stated_by
from exporter.errors import TokenizerError
from exporter.models.transformers_defaults import TOKEN_IDS
from runtimes.excerpt import excerpt

PAD, NO_PAD = "pad_token_id", -1
LARGEST_ID = 1 << 31  # what every runtime's token ids have room for


def read_token_facts(directory: CheckpointDirectory, config: Mapping[str, Any], rows: int) -> TokenFacts:
    """Ids from generation_config.json, then config.json, as transformers' `generate` takes them.

    rows: of the embedding. Raises TokenizerError for an id that neither states, that is not one, or that
    has no row, and for a chat template that cannot be told.
    """
    generation = directory.json(GENERATION_CONFIG) if directory.has(GENERATION_CONFIG) else {}
    config = _padded(config)
    if generation.get(PAD) == NO_PAD:
        generation[PAD] = None

    def stated(key: str) -> tuple[int, ...]:
        value = generation.get(key)
        if value is not None:
            return _ids(directory, GENERATION_CONFIG, key, value)
        return _ids(directory, CONFIG, key, config.get(key))

    stops = stated("eos_token_id")
    own = config.get("eos_token_id")
    template = find_chat_template(directory)
    names = NamedTokens.read(directory)
    said_by = GENERATION_CONFIG if generation.get("eos_token_id") is not None else CONFIG
    says = [StopsStated(said_by, stops)]
    if own is not None:
        says.append(StopsStated(CONFIG, _ids(directory, CONFIG, "eos_token_id", own)))
    if (eos := names.added.get((names.special or {}).get("eos_token", ""))) is not None:
        says.append(StopsStated(eos_stated_by(directory), (eos,)))
    facts = TokenFacts(
        bos_token=stated("bos_token_id")[0],
        eos_token=own if type(own) is int else stops[0],
        pad_token=stated(PAD)[0],
        stop_tokens=stops,
        chat_template=template.source,
        remarks=template.remarks,
    )
    return complete(directory.path, facts, says, names, rows)


def _padded(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """-1 is how some tools spell that nothing pads; here something must, and takes no part in anything."""
    return {**config, PAD: TOKEN_IDS[PAD]} if config.get(PAD) == NO_PAD else config


def _ids(directory: CheckpointDirectory, name: str, key: str, value: object) -> tuple[int, ...]:
    ids = value if isinstance(value, list) else [value]
    other = CONFIG if name == GENERATION_CONFIG else GENERATION_CONFIG
    if not ids or not all(type(i) is int and 0 <= i < LARGEST_ID for i in ids):
        raise TokenizerError(
            f"{directory.path}/{name}: {key}",
            f"expected a token id, here or in {other}, got {excerpt(value)}",
            "fetch both files again",
        )
    return tuple(ids)
