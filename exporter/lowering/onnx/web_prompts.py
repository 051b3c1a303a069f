"""Prompts as transformers.js renders them from the template of a release for the web.

Not about what they are held against (`exporter.validation.template_check`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from exporter.checkpoints.tokenizer.template_rendering import Unrendered
from exporter.checkpoints.tokenizer.turn_end import better, messages_of
from exporter.formats.web_paths import packages
from exporter.lowering.conversations import Conversation, NotRendered, Prompts
from exporter.lowering.onnx.web_config import TOKENIZER_CONFIG
from runtimes.errors import ArtifactError, ExecutionFailed
from runtimes.onnx.transformers_js import missing_engine
from runtimes.onnx.transformers_js_prompts import ConversationToRender, NoPrompt, render_in_node
from runtimes.strict_json import StrictJsonError, read_json_object


def web_prompts(
    release: Path, conversations: Sequence[Conversation], scratch: Path
) -> Prompts | NotRendered | None:
    """None for a release without a template, `NotRendered` where Node or its packages are not here.

    Each conversation is given as strings and as parts, of which a template may be made for one. Raises
    ArtifactError for a tokenizer that transformers.js does not open.
    """
    template = _template(release)
    if template is None:
        return None
    if (missing := missing_engine("node", packages())) is not None:
        return NotRendered(f"transformers.js rendered no prompt: {missing}")
    asked = [
        ConversationToRender(messages_of(each.messages, as_parts), each.tools, dict(each.variables))
        for each in conversations
        for as_parts in (False, True)
    ]
    try:
        found = render_in_node(release, asked, packages(), scratch)
    except ExecutionFailed as error:
        raise ArtifactError(str(error)) from error
    shown = [
        Unrendered("failed", each.why) if isinstance(each, NoPrompt) else each for each in found.prompts
    ]
    chosen = tuple(
        better(each.messages, strings, parts)
        for each, strings, parts in zip(conversations, shown[::2], shown[1::2], strict=True)
    )
    return Prompts(f"transformers.js {found.version}", template, chosen, puts_bos=False)


def _template(release: Path) -> str | None:
    """Where transformers.js reads it."""
    try:
        stated = read_json_object(release / TOKENIZER_CONFIG).get("chat_template")
    except (OSError, StrictJsonError) as error:
        raise ArtifactError(f"{release / TOKENIZER_CONFIG}: cannot be read ({error})") from error
    return stated if isinstance(stated, str) else None
