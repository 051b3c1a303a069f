"""`Conversation`: what a chat template is tried on, and what a lowering offers whose runtime renders one.

The set is fixed: a template that renders it in a runtime as in transformers is taken to be the same there.
Not about comparing (`exporter.validation.template_check`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from exporter.checkpoints.tokenizer.template_rendering import Unrendered
from runtimes.manifest import Artifact

WEATHER: Mapping[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a place.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "Where"}},
            "required": ["city"],
        },
    },
}


@dataclass(frozen=True)
class Conversation:
    """messages: role and text, the last one to be answered. tools: JSON schemas. variables: what the
    template is told beside them. asks: only for templates that hold this word."""

    name: str
    messages: tuple[tuple[str, str], ...]
    tools: tuple[Mapping[str, Any], ...] = ()
    variables: tuple[tuple[str, Any], ...] = ()
    asks: str = ""


CONVERSATIONS = (
    Conversation("a user alone", (("user", "What is the capital of France?"),)),
    Conversation("a system message", (("system", "Be brief."), ("user", "Hello"))),
    Conversation("two turns", (("user", "Hello"), ("assistant", "Good day."), ("user", " And then?\n"))),
    Conversation("empty content", (("user", ""),)),
    Conversation("text beyond ASCII", (("user", "Ça va, 世界? <é> 'x' \"y\" & 🙂"),)),
    Conversation("tools", (("user", "Is it raining?"),), tools=(WEATHER,), asks="tools"),
    Conversation(
        "thinking", (("user", "Hello"),), variables=(("enable_thinking", True),), asks="enable_thinking"
    ),
)


@dataclass(frozen=True)
class Prompts:
    """What a runtime made of conversations. subject: the runtime, for people. template: as the artifact has
    it. rendered: in the order asked, None for one the runtime puts in words of its own.

    puts_bos: the runtime puts the first token before a prompt itself."""

    subject: str
    template: str
    rendered: tuple[str | Unrendered | None, ...]
    puts_bos: bool


@dataclass(frozen=True)
class NotRendered:
    """An engine that this machine need not have, or cannot, and that is not here. why: in words."""

    why: str


@runtime_checkable
class RendersConversations(Protocol):
    """A lowering whose artifacts carry a template that their runtime executes."""

    def render(
        self, path: Path, artifact: Artifact, conversations: Sequence[Conversation], scratch: Path
    ) -> Prompts | NotRendered | None:
        """None for an artifact without a template. path: of the artifact. Raises RuntimeUnavailable where
        a runtime is not installed that every export has, and ArtifactError for what it cannot open."""
        ...
