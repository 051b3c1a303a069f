"""Conversations given to a vendor's template engine in a process of its own, and what came back.

The engines are native code: a template may make one panic, loop, or return what is no text, and the export
must outlive it. Not about any one engine (`litert.engine_process`, `onnx.genai_process`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from exporter.asked_process import Limits, Question, Reply, ask, reply_to
from exporter.checkpoints.tokenizer.template_rendering import Unrendered, read_answers
from exporter.lowering.conversations import Conversation
from runtimes.errors import ArtifactError
from runtimes.excerpt import plain_excerpt

SECONDS = 60.0  # an engine opens in one or two and renders in milliseconds
OPENED: Reply = {"opened": True}


def vendor_prompts(
    process: str, subject: str, place: Mapping[str, Any], conversations: Sequence[Conversation]
) -> tuple[str | Unrendered, ...]:
    """process: a module that calls `serve_engine`. subject: the engine, for people. place: what it opens.

    After a crash the rest is asked of another process, after a hang nothing is. Raises ArtifactError where
    the engine does not open.
    """
    shown: list[str | Unrendered] = []
    while len(shown) < len(conversations):
        rest = conversations[len(shown) :]
        order = {**place, "conversations": [asdict(each) for each in rest]}
        answers = ask(process, order, Limits(SECONDS))
        if answers.found[:1] != (OPENED,):
            why = answers.found[0].get("closed") if answers.found else answers.end
            raise ArtifactError(f"{subject} cannot open it ({plain_excerpt(why or 'it gave no answer')})")
        found = read_answers(type(answers)(answers.found[1:], answers.end, answers.hung), len(rest))
        done = len(answers.found) - 1
        # Up to the one it crashed at; behind it there is nothing but "not tried".
        shown += found if answers.hung or answers.end is None else found[: done + 1]
    return tuple(shown)


def serve_engine(opened: Any, render: Any) -> None:
    """The process's side. opened: takes the order, gives a context manager for the engine. render: takes
    the engine and a conversation as the order has it, gives the prompt."""
    reply_to(lambda order: _answers(order, opened, render))


def _answers(order: Question, opened: Any, render: Any) -> Iterator[Reply]:
    try:
        manager = opened(order)
        engine = manager.__enter__()
    except Exception as error:  # native bindings raise RuntimeError, ValueError and others
        yield {"closed": str(error)}
        return
    yield OPENED
    try:
        for conversation in order["conversations"]:
            yield _answer(engine, conversation, render)
    finally:
        manager.__exit__(None, None, None)


def _answer(engine: Any, conversation: Any, render: Any) -> Reply:
    try:
        return {"rendered": render(engine, conversation).encode("utf-8").decode("utf-8")}
    except Exception as error:  # of the engine's; UnicodeDecodeError where it returns what is no text
        return {"failed": f"{type(error).__name__}: {error}"}
