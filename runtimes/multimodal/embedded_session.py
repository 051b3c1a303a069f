"""`EmbeddedSession`: prompts with rows for a decoder that takes embeddings, and what its drivers have in
common: where calls end, what stands where, and the position.

Not about any runtime: a driver runs a call.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from runtimes.multimodal.embedded_call import EmbeddedCall
from runtimes.multimodal.placing import SoftTokens, calls_around, require_placed
from runtimes.multimodal.session import PlacedRows
from runtimes.session import Logits, SessionFacts, Tokens


class EmbeddedSession(ABC):
    """Satisfies `MultimodalSession` with a driver's `run`, `reset`, `close` and `require_open`.

    soft: the id in the places of rows, by kind. width: of a row.
    """

    def __init__(self, facts: SessionFacts, soft: SoftTokens, width: int) -> None:
        self._facts = facts
        self._soft = soft
        self._width = width
        self._position = 0

    @property
    def facts(self) -> SessionFacts:
        return self._facts

    @property
    def position(self) -> int:
        return self._position

    def prefill(self, tokens: Tokens) -> Logits:
        self.require_open()
        return self._prefill(self._facts.tokens_at(self._position, tokens), ())

    def prefill_with_rows(self, tokens: Tokens, placed: Sequence[PlacedRows]) -> Logits:
        self.require_open()
        ids = self._facts.tokens_at(self._position, tokens)
        ordered = sorted(placed, key=lambda each: each.start)
        require_placed(ids, ordered, self._soft, self._width)
        return self._prefill(ids, ordered)

    def decode(self, token: int) -> NDArray[np.float32]:
        self.require_open()
        ids = self._facts.token_at(self._position, token)
        logits: NDArray[np.float32] = self._run(EmbeddedCall(ids))[-1]
        return logits

    @abstractmethod
    def reset(self) -> None: ...

    @abstractmethod
    def close(self) -> None: ...

    @abstractmethod
    def require_open(self) -> None:
        """Raise SessionError once closed."""

    @abstractmethod
    def run(self, call: EmbeddedCall) -> Logits:
        """Logits of every token of a call that begins at `position`."""

    def _prefill(self, ids: Tokens, placed: Sequence[PlacedRows]) -> Logits:
        calls = calls_around(placed, len(ids), self._facts.prefill_chunk)
        parts = (self._run(EmbeddedCall.part(ids, placed, start, stop)) for start, stop in calls)
        return self._facts.logits_of_prefill(parts, len(ids))

    def _run(self, call: EmbeddedCall) -> Logits:
        logits = self.run(call)
        self._position += len(call.ids)
        return logits

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
