"""Greedy tokens after a prompt, and how many of them the reference would have chosen too.

The reference needs no loop of its own: it reads prompt and continuation in one pass, and agrees as
long as its most likely token at each position is the one that comes next. Stop tokens do not stop.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from exporter.errors import PlanError
from exporter.progress import Progress
from exporter.reference.streamed import reference_choices
from exporter.reference.weights import ReferenceWeights
from runtimes.session import Session, Tokens

GREEDY_TOKENS = 64  # after each prompt, where the whole evaluation text is compared
FEWER_GREEDY_TOKENS = 16  # where somebody asked for less: a large model takes its time


def require_room_to_answer(prompts: Iterable[Tokens], context: int) -> None:
    """Raise PlanError for a context in which a prompt has no token after it."""
    longest = max(map(len, prompts))
    if context <= longest:
        raise PlanError(
            f"--context {context}",
            f"the prompt that every export is tried with has {longest} tokens, and none would follow it",
            f"choose a context of at least {longest + 1}",
        )


@dataclass(frozen=True)
class Continuation:
    """tokens: the prompt's [prompt] and the greedy ones after it, as one sequence."""

    prompt: str
    prompt_tokens: int
    tokens: Tokens


def continue_greedily(
    session: Session, prompt: str, prompt_tokens: Tokens, count: int = GREEDY_TOKENS
) -> Continuation:
    """`count` tokens, each the most likely; fewer where the context ends."""
    session.reset()
    if len(prompt_tokens) > 1:
        session.prefill(prompt_tokens[:-1])
    found = prompt_tokens.tolist()
    for _ in range(min(count, session.facts.context - len(prompt_tokens))):
        found.append(int(session.decode(found[-1]).argmax()))
    return Continuation(prompt, len(prompt_tokens), np.array(found, np.int32))


def agreed_tokens(
    weights: ReferenceWeights, continuations: Sequence[Continuation], progress: Progress
) -> list[int]:
    """Tokens of each continuation until the first the reference would not have chosen.

    Continuations of one length are read in one pass.
    """
    agreed = [0] * len(continuations)
    for length in sorted({len(each.tokens) for each in continuations}):
        members = [i for i, each in enumerate(continuations) if len(each.tokens) == length]
        batch = np.stack([continuations[i].tokens for i in members])
        choices = reference_choices(weights, batch[:, :-1], progress)
        for i, chosen in zip(members, choices, strict=True):
            begin = continuations[i].prompt_tokens
            same = chosen[begin - 1 :] == continuations[i].tokens[begin:]
            agreed[i] = len(same) if same.all() else int(same.argmin())
    return agreed
