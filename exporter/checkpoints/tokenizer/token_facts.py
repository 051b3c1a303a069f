"""Which tokens begin and end text, and the chat template, from the JSON files of a Hub directory.

Not about the vocabulary itself, and not about GGUF (`gguf.source`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from exporter.checkpoints.files.checkpoint_directory import CheckpointDirectory
from exporter.checkpoints.interface import TokenFacts
from exporter.errors import TokenizerError


def read_token_facts(directory: CheckpointDirectory, config: Mapping[str, Any]) -> TokenFacts:
    """Ids from generation_config.json, then config.json, as transformers' `generate` takes them.

    Raises TokenizerError for an id that neither states, or that is not one.
    """
    generation = directory.json("generation_config.json") if directory.has("generation_config.json") else {}

    def stated(key: str) -> tuple[int, ...]:
        value = generation.get(key)
        value = config.get(key) if value is None else value
        ids = value if isinstance(value, list) else [value]
        if not ids or not all(type(i) is int and i >= 0 for i in ids):
            raise TokenizerError(
                f"{directory.path}/config.json: {key}",
                f"expected a token id, here or in generation_config.json, got {value!r}",
                "fetch both files again",
            )
        return tuple(ids)

    stops = stated("eos_token_id")
    own = config.get("eos_token_id")
    return TokenFacts(
        bos_token=stated("bos_token_id")[0],
        eos_token=own if type(own) is int else stops[0],
        pad_token=stated("pad_token_id")[0],
        stop_tokens=tuple(dict.fromkeys(stops)),
        chat_template=read_chat_template(directory),
    )


def read_chat_template(directory: CheckpointDirectory) -> str | None:
    """The Jinja source: chat_template.jinja, else the `chat_template` of tokenizer_config.json.

    Of several named templates the one called "default" is taken, as transformers does.
    """
    if directory.has("chat_template.jinja"):
        return directory.file("chat_template.jinja").read_text(encoding="utf-8")
    if not directory.has("tokenizer_config.json"):
        return None
    found = directory.json("tokenizer_config.json").get("chat_template")
    match found:
        case None | str():
            return found
        case list():
            named = {
                entry["name"]: entry["template"] for entry in found if {"name", "template"} <= set(entry)
            }
            if isinstance(template := named.get("default"), str):
                return template
    raise TokenizerError(
        directory.path / "tokenizer_config.json",
        "chat_template is neither Jinja source nor a list with a default one",
        "fetch it again",
    )
