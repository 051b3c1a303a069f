"""`OnnxTwin`: a float twin cut in two, run along a route: the body call by call, the head in blocks.

The head dequantises its whole matrix at every call, whatever the number of rows, and it is most of a small
model. It remembers nothing, so many positions' rows go through it at once; the body has the caches and
takes each prefill chunk and each decode step alone, through the artifact's own driver.
Steps of `run`:
  (1) every call of the route through the body; what comes is each position's hidden state
  (2) those through the head, `BLOCK_ROWS` at a time
Memory: (1) the body, its fp32 matrices once (ONNX Runtime gives back what it has packed, so packing takes
no more and is faster), and the text's hidden states; (2), when the body is closed, the head and about three
blocks of logits. Not about how the two graphs are made (`float_twin`).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from exporter.lowering.interface import Segment
from runtimes.errors import SessionError
from runtimes.onnx.session import OnnxSession, inference_session
from runtimes.session import Logits, SessionFacts, Tokens

HIDDEN, LOGITS = "hidden_state", "logits"
BLOCK_ROWS = 128  # more make multiplying no faster


@dataclass(frozen=True)
class OnnxTwin:
    """Satisfies `RouteRunner`. body: its "logits" are hidden states. head: from those to the logits."""

    body: Path
    head: Path
    vocab_size: int

    @cached_property
    def facts(self) -> SessionFacts:
        """Raises as opening an artifact does."""
        with OnnxSession(self.body, vocab_size=self.vocab_size) as session:
            return session.facts

    def run(
        self, segments: Sequence[Segment], tokens: Tokens, tell: Callable[[int], None]
    ) -> Generator[tuple[int, Logits]]:
        # (1)
        hidden = self._hidden_states(segments, tokens, lambda done: tell(done // 2))
        # (2)
        head = inference_session(self.head)
        for start in range(0, len(hidden), BLOCK_ROWS):
            rows = hidden[start : start + BLOCK_ROWS]
            (logits,) = head.run([LOGITS], {HIDDEN: rows[None]})
            found: Logits = logits[0]
            if found.shape[1] != self.vocab_size:
                raise SessionError(f"{self.head}: returns logits of {found.shape[1]} tokens; export again")
            yield start, found
            tell((len(hidden) + start + len(rows)) // 2)

    def _hidden_states(
        self, segments: Sequence[Segment], tokens: Tokens, tell: Callable[[int], None]
    ) -> NDArray[np.float32]:
        """Of every token, [tokens, width]."""
        found: list[NDArray[np.float32]] = []
        at = 0
        with OnnxSession(self.body, vocab_size=self.vocab_size) as session:
            for segment in segments:
                end = at + segment.tokens
                step = session.facts.prefill_chunk if segment.call == "prefill" else 1
                for start in range(at, end, step):
                    given = tokens[start : min(end, start + step)]
                    if segment.call == "prefill":
                        found.append(session.prefill(given))
                    else:
                        found.append(session.decode(int(given[0]))[None])
                    tell(start + len(given))
                at = end
        return np.concatenate(found)
