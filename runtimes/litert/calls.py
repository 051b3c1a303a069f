"""What a LiteRT graph is called with: tokens in static chunks, their positions, the mask.

Not about running a call (`session`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from runtimes.session import SessionFacts, Tokens

DECODE, PREFILL = "decode", "prefill_"
TOKENS, POSITIONS, MASK, LOGITS, CACHE = "tokens", "input_pos", "mask", "logits", "kv_cache_"
# Added to the score of a key that must not be seen: exp() of it is 0.
HIDDEN = np.float32(-1e9)


@dataclass(frozen=True)
class GraphCall:
    """tokens: as the signature takes them, padded behind the first `count`. position: of the first."""

    signature: Literal["prefill", "decode"]
    tokens: Tokens
    position: int
    count: int


def prefill_calls(tokens: Tokens, position: int, facts: SessionFacts) -> Iterator[GraphCall]:
    """The calls that append `tokens` behind `position` where no logits are wanted."""
    chunk, done = facts.prefill_chunk, 0
    while done < len(tokens):
        at = position + done
        if at + chunk > facts.context:
            # A padded chunk would not fit, and the runtime would clamp it onto earlier positions.
            yield GraphCall("decode", tokens[done : done + 1], at, 1)
            done += 1
            continue
        part = tokens[done : done + chunk]
        # What padding leaves in the cache lies behind every position that can be seen, and is
        # written over before the position gets there.
        padded = np.zeros(chunk, np.int32)
        padded[: len(part)] = part
        yield GraphCall("prefill", padded, at, len(part))
        done += len(part)


def call_inputs(call: GraphCall, context: int) -> dict[str, NDArray[Any]]:
    """The graph's inputs for a call, caches apart."""
    at = np.arange(call.position, call.position + len(call.tokens), dtype=np.int32)
    slots = np.arange(context, dtype=np.int32)
    return {
        TOKENS: call.tokens[None],
        POSITIONS: at,
        MASK: np.where(slots <= at[:, None], np.float32(0), HIDDEN)[None, None],
    }
