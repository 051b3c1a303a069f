"""Tokenizers that know the marks of images and sounds, and templates that write them: Gemma 3's kind and
Gemma 4's.

Not about pictures and sounds, nor about whole releases.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from runtimes.images.processing import ImageMarks
from runtimes.sounds.processing import SoundMarks
from tests.tiny import name_unused, write_tiny_tokenizer

GEMMA_3_TEMPLATE = """\
{{ bos_token }}
{%- for message in messages -%}
    {{- '<start_of_turn>' + ('model' if message['role'] == 'assistant' else message['role']) + '\\n' -}}
    {%- for item in message['content'] -%}
        {%- if item['type'] == 'image' -%}{{- '<start_of_image>' -}}
        {%- elif item['type'] == 'text' -%}{{- item['text'] | trim -}}{%- endif -%}
    {%- endfor -%}
    {{- '<end_of_turn>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<start_of_turn>model\\n' -}}{%- endif -%}
"""
HEARING = "{%- elif item['type'] == 'audio' -%}{{- '<|audio|>' -}}\n        "
GEMMA_4_TEMPLATE = GEMMA_3_TEMPLATE.replace("'<start_of_image>'", "'\\n\\n<|image|>\\n\\n'").replace(
    "{%- elif item['type'] == 'text'", HEARING + "{%- elif item['type'] == 'text'"
)


@dataclass(frozen=True)
class MediaSpeech:
    """template: of a chat model. sounds: None for a model that hears none. names: what transformers'
    processors know the marks by. tokens: by id."""

    template: str
    marks: ImageMarks
    sounds: SoundMarks | None
    names: Mapping[str, str]
    tokens: Mapping[int, str]


GEMMA_3 = MediaSpeech(
    GEMMA_3_TEMPLATE,
    ImageMarks(302, 300, 301, line_breaks=True, placeholder="<start_of_image>"),
    None,
    {
        "boi_token": "<start_of_image>",
        "eoi_token": "<end_of_image>",
        "image_token": "<image_soft_token>",
    },
    {300: "<start_of_image>", 301: "<end_of_image>", 302: "<image_soft_token>", 303: "\n\n\n"},
)
GEMMA_4 = MediaSpeech(
    GEMMA_4_TEMPLATE,
    ImageMarks(302, 300, 301, line_breaks=False, placeholder="<|image|>"),
    SoundMarks(306, 304, 305, placeholder="<|audio|>"),
    {
        "boi_token": "<|image>",
        "eoi_token": "<image|>",
        "image_token": "<|image|>",
        "boa_token": "<|audio>",
        "eoa_token": "<audio|>",
        "audio_token": "<|audio|>",
    },
    {
        300: "<|image>", 301: "<image|>", 302: "<|image|>", 303: "\n\n\n",
        304: "<|audio>", 305: "<audio|>", 306: "<|audio|>", 307: "<|video|>",
    },
)  # fmt: skip


def write_media_speech(directory: Path, speech: MediaSpeech, template: bool = True) -> None:
    """A tiny tokenizer's files. Three line breaks are one token of it, as in the published ones."""
    write_tiny_tokenizer(directory)
    breaks = {token: text for token, text in speech.tokens.items() if text.isspace()}
    name_unused(directory, breaks, special=False)
    name_unused(directory, {token: speech.tokens[token] for token in speech.tokens if token not in breaks})
    path = directory / "tokenizer_config.json"
    config = json.loads(path.read_bytes()) | {"extra_special_tokens": dict(speech.names)}
    if template:
        config["chat_template"] = speech.template
    path.write_text(json.dumps(config), encoding="utf-8")
