"""Prompts as onnxruntime-genai renders them from the template beside a graph.

Not about what they are held against (`exporter.validation.template_check`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from exporter.lowering.conversations import Conversation, Prompts
from exporter.lowering.onnx.genai_config import TEMPLATE_NAME
from runtimes.errors import ArtifactError, RuntimeUnavailable


def genai_prompts(directory: Path, conversations: Sequence[Conversation]) -> Prompts | None:
    """None for a directory without a template. The graph is not opened.

    Raises RuntimeUnavailable without onnxruntime-genai, ArtifactError for a tokenizer it does not open.
    """
    template = directory / TEMPLATE_NAME
    if not template.is_file():
        return None
    try:
        import onnxruntime_genai as genai
    except ImportError as error:
        raise RuntimeUnavailable(
            "onnxruntime-genai is not installed, so no prompt was rendered; pip install onnxruntime-genai"
        ) from error
    try:
        tokenizer = genai.Tokenizer(str(directory))
    except RuntimeError as error:
        raise ArtifactError(
            f"{directory}: onnxruntime-genai cannot open its tokenizer ({error})"
        ) from error
    return Prompts(
        f"onnxruntime-genai {version('onnxruntime-genai')}",
        template.read_text(encoding="utf-8"),
        tuple(_render(tokenizer, each) for each in conversations),
        puts_bos=False,
    )


def _render(tokenizer: Any, conversation: Conversation) -> str:
    """From strings, and from parts for a template that makes nothing of strings."""
    tokenizer.update_options(chat_template_kwargs=json.dumps(dict(conversation.variables)))
    tools = {"tools": json.dumps([dict(each) for each in conversation.tools])} if conversation.tools else {}
    strings = [{"role": role, "content": text} for role, text in conversation.messages]
    parts = [
        {"role": role, "content": [{"type": "text", "text": text}]} for role, text in conversation.messages
    ]
    shown = ""
    for messages in (strings, parts):
        try:
            shown = str(
                tokenizer.apply_chat_template(json.dumps(messages), add_generation_prompt=True, **tools)
            )
        except RuntimeError as error:
            shown = shown or f"({error})"
            continue
        if all(text.strip() in shown for _, text in conversation.messages):
            break
    return shown
