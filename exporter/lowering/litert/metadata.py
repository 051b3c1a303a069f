"""What LiteRT-LM is told of a model: `LlmMetadata`, with the chat template as its engine renders it.

Not about the bundle that carries it (`bundle`).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from litert_lm_builder.runtime.proto import llm_metadata_pb2

# Field of LlmModelType by our model_type: how LiteRT-LM reads prompts, tool calls and channels. Its
# Gemma 3 is the one that knows `<start_of_turn>`, but its tool calls are Gemma 3's alone.
MODEL_TYPES = {"gemma3_text": "gemma3", "gemma4_text": "gemma4", "gemma4_unified_text": "gemma4"}
GENERIC_MODEL = "generic_model"
# Tokens that hand the word over, in every family that has them: a turn's end, and a tool's answer to come.
TURN_ENDS = ("<end_of_turn>", "<turn|>", "<|tool_response>")
# What Gemma 4 thinks aloud, which LiteRT-LM then keeps apart from the answer.
THOUGHT = ("thought", "<|channel>thought\n", "<channel|>")
# The first version known to run embedders that share the head's bytes; older ones are warned of.
EMBEDDERS_SINCE = "0.18.1"

# LiteRT-LM gives a template each message's content as a list of parts. The templates of Gemma 1 and 2 know
# strings only, and would write that list out into the prompt.
STRINGS_ONLY = frozenset({"gemma", "gemma2"})
AS_STRINGS = """\
{%- set plain = namespace(messages=[], text='') -%}
{%- for message in messages -%}
    {%- set plain.text = message['content'] if message['content'] is string else '' -%}
    {%- if message['content'] is not string -%}
        {%- for part in message['content'] if part['type'] == 'text' -%}
            {%- set plain.text = plain.text + part['text'] -%}
        {%- endfor -%}
    {%- endif -%}
    {%- set plain.messages = plain.messages + [{'role': message['role'], 'content': plain.text}] -%}
{%- endfor -%}
{%- set messages = plain.messages -%}
"""


@dataclass(frozen=True)
class ModelFacts:
    """What the metadata says. stop_tokens: ids the checkpoint ends generation with.

    embedded: tokens are looked up by embedders.
    """

    model_type: str
    bos_token: int
    stop_tokens: tuple[int, ...]
    chat_template: str | None
    context: int
    embedded: bool


def llm_metadata(facts: ModelFacts, tokenizer: bytes) -> bytes:
    """The section's bytes. tokenizer: the tokenizer.json beside it."""
    metadata = llm_metadata_pb2.LlmMetadata()
    metadata.start_token.token_ids.ids.append(facts.bos_token)
    stops = facts.stop_tokens
    if facts.chat_template is not None:
        # A conversation's answer ends with its turn, whatever else the checkpoint's own files say.
        stops += tuple(_added_tokens(tokenizer, TURN_ENDS))
        _describe_conversation(metadata, facts.model_type, facts.chat_template)
    for token in dict.fromkeys(stops):
        metadata.stop_tokens.add().token_ids.ids.append(token)
    metadata.max_num_tokens = facts.context
    kind = getattr(metadata.llm_model_type, MODEL_TYPES.get(facts.model_type, GENERIC_MODEL))
    kind.SetInParent()  # an empty message, but present
    if facts.embedded:
        metadata.min_runtime_version = EMBEDDERS_SINCE
    serialized: bytes = metadata.SerializeToString(deterministic=True)
    return serialized


def _describe_conversation(metadata: Any, model_type: str, template: str) -> None:
    before = AS_STRINGS if model_type in STRINGS_ONLY else ""
    metadata.jinja_prompt_template = before + template
    if MODEL_TYPES.get(model_type) == "gemma4":
        channel = metadata.channels.add()
        channel.channel_name, channel.start, channel.end = THOUGHT
        metadata.supports_thinking = "enable_thinking" in template
        metadata.supports_function_calling = "tools" in template


def _added_tokens(tokenizer: bytes, wanted: tuple[str, ...]) -> list[int]:
    """Ids of the tokens wanted that tokenizer.json lists as added, in the order wanted.

    Reads that list alone: as objects, the vocabulary would take hundreds of MB.
    """
    for found in re.finditer(rb'"added_tokens"\s*:\s*\[', tokenizer):
        entries, _ = json.JSONDecoder().raw_decode(tokenizer[found.end() - 1 :].decode("utf-8"))
        ids = {entry["content"]: entry["id"] for entry in entries}
        return [ids[content] for content in wanted if content in ids]
    return []
