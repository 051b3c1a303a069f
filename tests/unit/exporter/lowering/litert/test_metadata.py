"""What LiteRT-LM is told of a model: stop tokens, model type, template, Gemma 4's thoughts."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import jinja2
import pytest
from litert_lm_builder.runtime.proto import llm_metadata_pb2

from exporter.lowering.litert.metadata import EMBEDDERS_SINCE, ModelFacts, llm_metadata

TEMPLATE = "{{ bos_token }}{% for message in messages %}{{ message['content'] | trim }}|{% endfor %}"
FACTS = ModelFacts("gemma3_text", 2, (1,), TEMPLATE, 72, embedded=False)
# As in a real one: the list comes before the vocabulary, where the same words are pieces.
TOKENIZER = json.dumps(
    {
        "added_tokens": [
            {"id": 106, "content": "<turn|>", "special": True},
            {"id": 50, "content": "<|tool_response>", "special": True},
            {"id": 7, "content": "<another>", "special": True},
        ],
        "model": {"vocab": {"<end_of_turn>": 107, '"added_tokens": [': 9}},
    }
).encode()


def _said(facts: ModelFacts, tokenizer: bytes = TOKENIZER) -> Any:
    metadata = llm_metadata_pb2.LlmMetadata()
    metadata.ParseFromString(llm_metadata(facts, tokenizer))
    return metadata


def _stops(facts: ModelFacts, tokenizer: bytes = TOKENIZER) -> list[list[int]]:
    return [list(token.token_ids.ids) for token in _said(facts, tokenizer).stop_tokens]


def test_a_conversation_stops_where_a_turn_ends_too() -> None:
    assert _stops(FACTS) == [[1], [106], [50]]
    assert _stops(replace(FACTS, stop_tokens=(1, 106))) == [[1], [106], [50]]


def test_a_model_without_a_template_stops_where_its_checkpoint_says() -> None:
    assert _stops(replace(FACTS, chat_template=None)) == [[1]]


def test_a_tokenizer_without_added_tokens_adds_no_stops() -> None:
    assert _stops(FACTS, b'{"model": {}}') == [[1]]


@pytest.mark.parametrize(
    ("model_type", "told"),
    [
        ("gemma", "generic_model"),
        ("gemma2", "generic_model"),
        ("gemma3_text", "gemma3"),
        ("gemma4_text", "gemma4"),
        ("gemma4_unified_text", "gemma4"),
    ],
)
def test_every_family_has_its_kind(model_type: str, told: str) -> None:
    said = _said(replace(FACTS, model_type=model_type))
    assert said.llm_model_type.WhichOneof("model_type") == told


def test_only_gemma4_thinks_in_a_channel() -> None:
    thinking = "{% if enable_thinking %}<|think|>{% endif %}{% if tools %}{% endif %}"
    said = _said(replace(FACTS, model_type="gemma4_text", chat_template=thinking))
    (channel,) = said.channels
    assert (channel.channel_name, channel.start, channel.end) == (
        "thought",
        "<|channel>thought\n",
        "<channel|>",
    )
    assert said.supports_thinking
    assert said.supports_function_calling
    silent = _said(replace(FACTS, model_type="gemma4_text"))
    assert not silent.supports_thinking
    assert not silent.supports_function_calling
    assert not _said(FACTS).channels


def test_a_model_behind_embedders_names_the_version_that_runs_them() -> None:
    assert _said(replace(FACTS, embedded=True)).min_runtime_version == EMBEDDERS_SINCE
    assert not _said(FACTS).HasField("min_runtime_version")


@pytest.mark.parametrize("model_type", ["gemma", "gemma2"])
def test_templates_for_strings_are_given_strings(model_type: str) -> None:
    template = _said(replace(FACTS, model_type=model_type)).jinja_prompt_template
    parts = [{"type": "text", "text": " Hi"}, {"type": "image"}, {"type": "text", "text": " you "}]
    messages = [{"role": "user", "content": parts}, {"role": "model", "content": "yes "}]
    rendered = jinja2.Template(template).render(messages=messages, bos_token="<bos>")
    assert rendered == "<bos>Hi you|yes|"


def test_other_templates_are_the_models_own() -> None:
    assert _said(FACTS).jinja_prompt_template == TEMPLATE
