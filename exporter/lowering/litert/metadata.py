"""What LiteRT-LM is told of a model: `LlmMetadata`.

Not about the bundle that carries it (`bundle`), nor about making the chat template one that its engine
renders (`chat_template`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from litert_lm_builder.runtime.proto import llm_metadata_pb2

from exporter.errors import LoweringError
from exporter.lowering.litert.chat_template import begins_with_bos, engine_template
from runtimes.images.processing import ImageProcessing
from runtimes.sounds.processing import SoundProcessing

# Field of LlmModelType by our model_type: how LiteRT-LM reads prompts, tool calls and channels. Its
# Gemma 3 is the one that knows `<start_of_turn>`, but its tool calls are Gemma 3's alone.
MODEL_TYPES = {"gemma3_text": "gemma3", "gemma4_text": "gemma4", "gemma4_unified_text": "gemma4"}
GENERIC_MODEL = "generic_model"
# A Gemma 3 with these tokens is FunctionGemma, whatever it is called: config.json and weights are a Gemma
# 3's, and its calls are written between them. The other Gemmas 3 have unused tokens in their place.
FUNCTION_GEMMA = "function_gemma"
FUNCTION_TOKENS = (
    "<start_function_declaration>",
    "<start_function_call>",
    "<end_function_call>",
    "<escape>",
)
# What Gemma 4 thinks aloud, which LiteRT-LM then keeps apart from the answer.
THOUGHT = ("thought", "<|channel>thought\n", "<channel|>")
# The first version known to run embedders that share the head's bytes; older ones are warned of.
EMBEDDERS_SINCE = "0.18.1"


@dataclass(frozen=True)
class ImageFacts:
    """begin, end: ids of the tokens around an image. processing: what is done to a picture."""

    begin: int
    end: int
    processing: ImageProcessing


@dataclass(frozen=True)
class SoundFacts:
    """begin, end: ids of the tokens around a sound. processing: what is done to one."""

    begin: int
    end: int
    processing: SoundProcessing


@dataclass(frozen=True)
class ModelFacts:
    """What the metadata says. stop_tokens: ids that end generation.

    embedded: tokens are looked up by embedders. images, sounds: None where none are taken.
    """

    model_type: str
    bos_token: int
    stop_tokens: tuple[int, ...]
    chat_template: str | None
    context: int
    embedded: bool
    images: ImageFacts | None = None
    sounds: SoundFacts | None = None


def llm_metadata(facts: ModelFacts, tokenizer: bytes) -> bytes:
    """The section's bytes. tokenizer: the tokenizer.json beside it."""
    metadata = llm_metadata_pb2.LlmMetadata()
    if facts.chat_template is None or begins_with_bos(facts.chat_template):
        metadata.start_token.token_ids.ids.append(facts.bos_token)
    for token in facts.stop_tokens:
        metadata.stop_tokens.add().token_ids.ids.append(token)
    if facts.chat_template is not None:
        _describe_conversation(metadata, facts.model_type, facts.chat_template)
    metadata.max_num_tokens = facts.context
    field = _field_of_model_type(facts.model_type, tokenizer)
    kind = getattr(metadata.llm_model_type, field)
    kind.SetInParent()  # an empty message, but present
    if field == FUNCTION_GEMMA:
        # Checkpoints' templates declare tools themselves; told nothing, the engine hands them its own text
        # for each tool instead of its schema, and no prompt with tools can be rendered.
        kind.use_template_for_fc_format = True
    if facts.images is not None:
        _describe_images(kind, facts.images, tokenizer)
    if facts.sounds is not None:
        _describe_sounds(kind, facts.sounds, tokenizer)
    if facts.embedded:
        metadata.min_runtime_version = EMBEDDERS_SINCE
    serialized: bytes = metadata.SerializeToString(deterministic=True)
    return serialized


def _field_of_model_type(model_type: str, tokenizer: bytes) -> str:
    """Of `LlmModelType`, by what the model is and by the tokens it has."""
    field = MODEL_TYPES.get(model_type, GENERIC_MODEL)
    return FUNCTION_GEMMA if field == "gemma3" and _has_tokens(tokenizer, FUNCTION_TOKENS) else field


def _describe_conversation(metadata: Any, model_type: str, template: str) -> None:
    metadata.jinja_prompt_template = engine_template(template)
    if MODEL_TYPES.get(model_type) == "gemma4":
        channel = metadata.channels.add()
        channel.channel_name, channel.start, channel.end = THOUGHT
        metadata.supports_thinking = "enable_thinking" in template
        metadata.supports_function_calling = "tools" in template


def _describe_images(kind: Any, images: ImageFacts, tokenizer: bytes) -> None:
    """kind: the message of a Gemma 3 or 4, which has a field for whatever its processor asks."""
    tokens = ((kind.start_of_image_token, images.begin), (kind.end_of_image_token, images.end))
    _spell(tokens, tokenizer, "an image")
    if (square := images.processing.square) is not None:
        kind.image_tensor_height = kind.image_tensor_width = square.side
    if (patches := images.processing.patches) is not None:
        kind.patch_width = kind.patch_height = patches.patch_size
        kind.pooling_kernel_size = patches.kernel
        kind.max_num_patches = images.processing.soft_tokens * patches.kernel**2
        if patches.merged:
            # 12B, whose sound is samples as they are: LiteRT-LM tells it by both.
            kind.merge_patches = kind.skip_mel_spectrogram_extraction = True


def _describe_sounds(kind: Any, sounds: SoundFacts, tokenizer: bytes) -> None:
    """kind: the message of a Gemma 4."""
    tokens = ((kind.start_of_audio_token, sounds.begin), (kind.end_of_audio_token, sounds.end))
    _spell(tokens, tokenizer, "a sound")
    if sounds.processing.samples is not None:
        kind.skip_mel_spectrogram_extraction = True


def _spell(tokens: Sequence[tuple[Any, int]], tokenizer: bytes, what: str) -> None:
    """Fill in each field how its token is spelled. what: they stand at, for messages."""
    spellings = {token: spelling for spelling, token in _added_tokens(tokenizer).items()}
    for field, token in tokens:
        if token not in spellings:
            raise LoweringError(
                "LiteRT",
                f"token {token}, which stands at {what}, is not among the tokenizer's added tokens",
                "give the tokenizer.json that belongs to the checkpoint",
            )
        field.token_str = spellings[token]


def _has_tokens(tokenizer: bytes, wanted: Collection[str]) -> bool:
    """Whether tokenizer.json lists all of them as added."""
    return _added_tokens(tokenizer).keys() >= set(wanted)


def _added_tokens(tokenizer: bytes) -> dict[str, int]:
    """Ids of a tokenizer.json's added tokens.

    Reads that list alone: as objects, the vocabulary would take hundreds of MB.
    """
    for found in re.finditer(rb'"added_tokens"\s*:\s*\[', tokenizer):
        entries, _ = json.JSONDecoder().raw_decode(tokenizer[found.end() - 1 :].decode("utf-8"))
        return {entry["content"]: entry["id"] for entry in entries}
    return {}
