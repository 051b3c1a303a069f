"""Tokens after a prompt, one at a time, and their text as soon as it is whole.

Not about how a token is chosen (`sampling`) or what a prompt is made of (`prompt_tokens`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from exporter.errors import UsageError
from exporter.running.sampling import Choose
from runtimes.errors import ArtifactError
from runtimes.multimodal.session import MultimodalSession, PlacedRows
from runtimes.session import Session

REPLACED = "\ufffd"  # what a tokenizer writes for bytes that are no character, yet or at all
LONGEST_WAIT = 16  # tokens; a character has 4 bytes, of a token each at most


def require_room_after(session: Session, prompt: Sequence[int]) -> None:
    """Raise UsageError for a prompt that leaves no room to answer."""
    context = session.facts.context
    if len(prompt) >= context:
        raise UsageError(
            "PROMPT",
            f"has {len(prompt)} tokens, and the context of {context} would hold none after it",
            f"shorten it to {context - 1} tokens, or export with a longer --context",
        )


def continued(
    session: Session, prompt: Sequence[int], choose: Choose, stop_tokens: Iterable[int]
) -> Iterator[int]:
    """Tokens until one that stops, which is not given, or until the context is full.

    prompt: at least one token. Raises ArtifactError for logits that are not finite.
    """
    if len(prompt) > 1:
        session.prefill(np.array(prompt[:-1], np.int32))
    yield from _after(session, prompt[-1], choose, frozenset(stop_tokens))


def continued_with_rows(
    session: MultimodalSession,
    prompt: Sequence[int],
    placed: Sequence[PlacedRows],
    choose: Choose,
    stop_tokens: Iterable[int],
) -> Iterator[int]:
    """`continued`, of a prompt with images and sounds. None has its last token: an end mark stands behind
    each."""
    session.prefill_with_rows(np.array(prompt[:-1], np.int32), placed)
    yield from _after(session, prompt[-1], choose, frozenset(stop_tokens))


def _after(session: Session, token: int, choose: Choose, stops: frozenset[int]) -> Iterator[int]:
    while session.position < session.facts.context:
        logits = session.decode(token)
        if not np.isfinite(logits).all():
            raise ArtifactError(
                f"the artifact returned logits that are not finite at position {session.position - 1}; "
                "check it with gemma-export validate"
            )
        token = choose(logits)
        if token in stops:
            return
        yield token


def text_of(tokens: Iterable[int], tokenizer: Any) -> Iterator[str]:
    """The text of tokens, in pieces: a character that several tokens make is waited for."""
    waiting: list[int] = []
    for token in tokens:
        waiting.append(token)
        text = tokenizer.decode(waiting)
        if text.endswith(REPLACED) and len(waiting) < LONGEST_WAIT:
            continue
        waiting.clear()
        yield text
    if waiting:
        yield tokenizer.decode(waiting)
