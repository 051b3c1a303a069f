"""Rendering a chat template as transformers does, within a few seconds or not at all.

A template is a stranger's program. It may loop for hours or ask for gigabytes, so it runs in a process of
its own with limits. Not about what is rendered (`turn_end`, `exporter.validation.template_check`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from exporter import asked_process
from exporter.asked_process import Limits, Replies, Reply
from runtimes.strict_json import parse_json_object

PROCESS = "exporter.checkpoints.tokenizer.template_process"
# Published templates take milliseconds and 50 MB, most of them Python's.
LIMITS = Limits(seconds=10, processor_seconds=3, memory_bytes=512 << 20)
Cause = Literal["refused", "failed", "stopped"]


@dataclass(frozen=True)
class Unrendered:
    """A conversation that was not rendered, and why. cause: the template refused it; the engine or Jinja
    could not; or the rendering crashed or was stopped at its limits."""

    cause: Cause
    why: str


def render_each(template: str, contexts: Sequence[Mapping[str, Any]]) -> tuple[str | Unrendered, ...]:
    """What transformers' Jinja makes of a template in each context: JSON values by name."""
    return _render_each(template, tuple(json.dumps(dict(context)) for context in contexts))


def read_answers(answers: Replies, count: int) -> tuple[str | Unrendered, ...]:
    """As many as were asked for: the one a process ended at is blamed, and those behind were not tried."""
    found = [_read(each) for each in answers.found[:count]]
    if len(found) < count:
        found.append(Unrendered("stopped", answers.end or "gave no answer"))
    not_tried = Unrendered("stopped", "was not tried after that")
    return (*found, *(not_tried for _ in range(count - len(found))))


def _read(answer: Reply) -> str | Unrendered:
    match answer:
        case {"rendered": str(text)}:
            return text
        case {"refused": str(why)}:
            return Unrendered("refused", why)
        case {"failed": str(why)}:
            return Unrendered("failed", why)
        case {"stopped": str(why)}:
            return Unrendered("stopped", why)
    return Unrendered("stopped", "gave no answer")


@lru_cache(maxsize=64)  # one export asks again and again: for stop tokens, for each format, for the gates
def _render_each(template: str, contexts: tuple[str, ...]) -> tuple[str | Unrendered, ...]:
    order = {"template": template, "contexts": [parse_json_object(context) for context in contexts]}
    return read_answers(asked_process.ask(PROCESS, order, LIMITS), len(contexts))
