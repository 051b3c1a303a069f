"""What LiteRT-LM is told of a model: stop tokens, model type, Gemma 4's thoughts, sounds."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from litert_lm_builder.runtime.proto import llm_metadata_pb2

from exporter.errors import LoweringError
from exporter.lowering.litert.metadata import EMBEDDERS_SINCE, ModelFacts, SoundFacts, llm_metadata
from runtimes.sounds.processing import SoundProcessing
from tests.sound_processing import pieces, spectra

TEMPLATE = "{{ bos_token }}{% for message in messages %}{{ message['content'] | trim }}|{% endfor %}"
FACTS = ModelFacts("gemma3_text", 2, (1,), TEMPLATE, 72, embedded=False)


# As in a real one: the list comes before the vocabulary, where the same words are pieces.
TOKENIZER = json.dumps(
    {
        "added_tokens": [{"id": 106, "content": "<turn|>", "special": True}],
        "model": {"vocab": {"<start_function_call>": 107, '"added_tokens": [': 9}},
    }
).encode()


def _said(facts: ModelFacts, tokenizer: bytes = TOKENIZER) -> Any:
    metadata = llm_metadata_pb2.LlmMetadata()
    metadata.ParseFromString(llm_metadata(facts, tokenizer))
    return metadata


def test_it_stops_at_the_tokens_it_is_given_and_no_others() -> None:
    said = _said(replace(FACTS, stop_tokens=(1, 106, 50)))
    assert [list(token.token_ids.ids) for token in said.stop_tokens] == [[1], [106], [50]]


FUNCTIONS = ("<start_function_declaration>", "<start_function_call>", "<end_function_call>", "<escape>")


def _with_tokens(*contents: str) -> bytes:
    return json.dumps(
        {"added_tokens": [{"id": 9 + i, "content": content} for i, content in enumerate(contents)]}
    ).encode()


def _model_type(model_type: str, tokenizer: bytes) -> str:
    told: str = _said(replace(FACTS, model_type=model_type), tokenizer).llm_model_type.WhichOneof(
        "model_type"
    )
    return told


def test_a_gemma_3_with_the_tokens_of_calls_is_function_gemma() -> None:
    assert _model_type("gemma3_text", _with_tokens(*FUNCTIONS)) == "function_gemma"
    assert _model_type("gemma3_text", _with_tokens(*FUNCTIONS[:-1])) == "gemma3"
    assert _model_type("gemma2", _with_tokens(*FUNCTIONS)) == "generic_model"


def test_function_gemma_declares_tools_by_its_own_template() -> None:
    said = _said(FACTS, _with_tokens(*FUNCTIONS)).llm_model_type
    assert said.function_gemma.use_template_for_fc_format


def test_a_tokenizer_without_added_tokens_calls_nothing() -> None:
    assert _model_type("gemma3_text", b'{"model": {}}') == "gemma3"


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


SOUND_NAMES = _with_tokens("<|audio>", "<audio|>")


@pytest.mark.parametrize("processing", [spectra(), pieces()])
def test_a_model_that_hears_is_told_what_stands_around_a_sound(processing: SoundProcessing) -> None:
    facts = replace(FACTS, model_type="gemma4_text", sounds=SoundFacts(9, 10, processing))
    said = _said(facts, SOUND_NAMES).llm_model_type.gemma4
    assert (said.start_of_audio_token.token_str, said.end_of_audio_token.token_str) == (
        "<|audio>",
        "<audio|>",
    )
    assert said.skip_mel_spectrogram_extraction == (processing.samples is not None)


def test_a_token_at_a_sound_that_has_no_spelling_is_refused() -> None:
    facts = replace(FACTS, model_type="gemma4_text", sounds=SoundFacts(9, 11, spectra()))
    with pytest.raises(LoweringError, match="token 11, which stands at a sound"):
        llm_metadata(facts, SOUND_NAMES)
