"""Prompts as transformers.js renders them, in Node, from the chat template of a release for the web.

Only the tokenizer's files are opened. Not about which conversations there are, or what the prompts are
compared with.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtimes.errors import ExecutionFailed, RuntimeUnavailable
from runtimes.onnx.transformers_js import SCRIPTS, missing_engine
from runtimes.own_process import run_in_own_process
from runtimes.strict_json import StrictJsonError, read_json_object

SECONDS = 120.0  # the tokenizer of a Gemma opens in one or two, on cores that others use too
SCRIPT = SCRIPTS / "prompts.mjs"


@dataclass(frozen=True)
class ConversationToRender:
    """messages, tools: as `apply_chat_template` takes them. variables: what the template is told beside."""

    messages: Sequence[Mapping[str, Any]]
    tools: Sequence[Mapping[str, Any]]
    variables: Mapping[str, Any]


@dataclass(frozen=True)
class NoPrompt:
    """A conversation that was not rendered, and why in the engine's words."""

    why: str


@dataclass(frozen=True)
class RenderedPrompts:
    """prompts: in the order asked. version: of transformers.js."""

    prompts: tuple[str | NoPrompt, ...]
    version: str


def render_in_node(
    release: Path, conversations: Sequence[ConversationToRender], packages: Path, scratch: Path
) -> RenderedPrompts:
    """release: the directory with tokenizer.json. packages: that of node_modules. scratch: existing
    directory for order and answer.

    Raises RuntimeUnavailable for what is not there, ExecutionFailed for a script that crashes, hangs or
    cannot open the tokenizer.
    """
    if (reason := missing_engine("node", packages)) is not None:
        raise RuntimeUnavailable(reason)
    what = f"{release.name}: transformers.js in Node, rendering prompts"
    order_path, answer_path = scratch / "prompts.json", scratch / "prompts-answer.json"
    order = {
        "answer": str(answer_path),
        "packages": str(packages.resolve()),
        "prompts": [
            {
                "messages": list(each.messages),
                "tools": list(each.tools),
                "variables": dict(each.variables),
            }
            for each in conversations
        ],
        "release": str(release.resolve()),
    }
    order_path.write_text(json.dumps(order), encoding="utf-8")
    run_in_own_process(["node", str(SCRIPT), str(order_path)], what=what, seconds=SECONDS)
    try:
        answer = read_json_object(answer_path)
    except (OSError, StrictJsonError) as error:
        raise ExecutionFailed(f"{what}: gave no answer that can be read ({error}); export again") from error
    return RenderedPrompts(tuple(_read(each) for each in answer["prompts"]), answer["version"])


def _read(answer: Mapping[str, str]) -> str | NoPrompt:
    return answer["rendered"] if "rendered" in answer else NoPrompt(answer["failed"])
