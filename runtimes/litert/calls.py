"""What a LiteRT graph is called with: tokens in static chunks, their positions, the masks.

Not about running a call (`session`), nor about where one with images or sounds is cut (`placed_calls`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from runtimes.litert.attention_masks import CAUSAL, AttentionMasks
from runtimes.multimodal.session import PlacedRows
from runtimes.session import SessionFacts, Tokens

DECODE, PREFILL = "decode", "prefill_"
TOKENS, POSITIONS, LOGITS, CACHE = "tokens", "input_pos", "logits", "kv_cache_"
MASK, LOCAL_MASK = "mask", "local_mask"
# Added to the score of a key that must not be seen: exp() of it is 0.
HIDDEN = np.float32(-1e9)


@dataclass(frozen=True)
class GraphCall:
    """tokens: as the signature takes them, padded behind the first `count`. position: of the first. placed:
    rows that go in place of some, as those of the call are counted."""

    signature: Literal["prefill", "decode"]
    tokens: Tokens
    position: int
    count: int
    placed: tuple[PlacedRows, ...] = ()


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


def call_inputs(call: GraphCall, context: int, masks: AttentionMasks = CAUSAL) -> dict[str, NDArray[Any]]:
    """The graph's inputs for a call, caches apart."""
    at = np.arange(call.position, call.position + len(call.tokens), dtype=np.int32)
    slots = np.arange(context, dtype=np.int32)
    causal = slots <= at[:, None]
    together = causal.copy()
    for image in (each for each in call.placed if each.of == "image"):
        together[image.start : image.stop, call.position + image.start : call.position + image.stop] = True
    given = {
        TOKENS: call.tokens[None],
        POSITIONS: at,
        MASK: _mask(together if masks.full_blocks else causal),
    }
    if masks.two:
        given[LOCAL_MASK] = _mask(together if masks.sliding_blocks else causal)
    return given


def _mask(seen: NDArray[np.bool_]) -> NDArray[np.float32]:
    return np.where(seen, np.float32(0), HIDDEN)[None, None]
