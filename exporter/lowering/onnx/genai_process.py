"""What runs in the process that renders with onnxruntime-genai's template engine.

Not about who asks (`genai_prompts`).
"""

from __future__ import annotations

import json
from contextlib import nullcontext
from typing import Any

from exporter.checkpoints.tokenizer.turn_end import messages_of, rendered_whole
from exporter.lowering.vendor_prompts import serve_engine


def _open(order: Any) -> Any:
    import onnxruntime_genai as genai

    return nullcontext(genai.Tokenizer(order["directory"]))


def _render(tokenizer: Any, conversation: Any) -> str:
    """From strings, and from parts for a template that makes nothing of strings."""
    tokenizer.update_options(chat_template_kwargs=json.dumps(dict(conversation["variables"])))
    tools = {"tools": json.dumps(conversation["tools"])} if conversation["tools"] else {}
    words = conversation["messages"]
    shown = ""
    for messages in (messages_of(words, as_parts) for as_parts in (False, True)):
        try:
            shown = str(
                tokenizer.apply_chat_template(json.dumps(messages), add_generation_prompt=True, **tools)
            )
        except RuntimeError as error:
            shown = shown or f"({error})"
            continue
        if rendered_whole(words, shown):
            break
    return shown


if __name__ == "__main__":
    serve_engine(_open, _render)
