"""`FedPrompt`: a prompt with rows, and the calls a session is given it by.

One call has the rows, those for text before and behind it have a chunk each, and the last tokens are given
one by one. Not about what is said of the logits, nor about where a driver cuts a call (`placing`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from runtimes.errors import NoRoomForCall
from runtimes.multimodal.session import MultimodalSession, PlacedRows
from runtimes.session import Logits, Session, Tokens


@dataclass(frozen=True)
class FedPrompt:
    """tokens: [tokens], all of which are given. placed: rows, by where they stand among them. called:
    [start, stop) of the call that has them. decoded: the first position whose token is given by itself."""

    tokens: Tokens
    placed: tuple[PlacedRows, ...]
    called: tuple[int, int]
    decoded: int


def fed(session: MultimodalSession, prompt: FedPrompt) -> Iterator[tuple[int, Logits]]:
    """Each first position and the logits that come back from it on, [positions, vocab]; from an empty cache
    on."""
    tokens, (start, stop) = prompt.tokens, prompt.called
    session.reset()
    yield from _prefilled(session, tokens, 0, start)
    placed = [replace(each, start=each.start - start) for each in prompt.placed]
    logits = session.prefill_with_rows(tokens[start:stop], placed)
    yield stop - len(logits), logits
    yield from _prefilled(session, tokens, stop, prompt.decoded)
    yield from _decoded(session, tokens, prompt.decoded)


def fed_as_text(session: Session, prompt: FedPrompt) -> Iterator[tuple[int, Logits]]:
    """The same of a prompt without rows."""
    session.reset()
    yield from _prefilled(session, prompt.tokens, 0, prompt.decoded)
    yield from _decoded(session, prompt.tokens, prompt.decoded)


def behind_each(
    session: MultimodalSession, prompts: Sequence[FedPrompt], say: Callable[[str], None]
) -> list[Logits]:
    """Of each prompt, logits of the tokens that are given by themselves, [decoded, vocab]; none of one that
    a graph has no room for where it stands. say: is told what is about to be given."""
    found = []
    for number, prompt in enumerate(prompts):
        say(f"prompt {number}, of {len(prompt.tokens)} tokens")
        try:
            parts = [logits for first, logits in fed(session, prompt) if first >= prompt.decoded]
        except NoRoomForCall:
            parts = [np.empty((0, session.facts.vocab_size), np.float32)]
        found.append(np.concatenate(parts))
    return found


def _prefilled(session: Session, tokens: Tokens, start: int, stop: int) -> Iterator[tuple[int, Logits]]:
    chunk = session.facts.prefill_chunk
    for first in range(start, stop, chunk):
        end = min(stop, first + chunk)
        logits = session.prefill(tokens[first:end])
        yield end - len(logits), logits


def _decoded(session: Session, tokens: Tokens, start: int) -> Iterator[tuple[int, Logits]]:
    for position in range(start, len(tokens)):
        yield position, session.decode(int(tokens[position]))[None]
