"""A session whose logits follow from the last token alone: what tests of generating and replaying feed.

Not about a model: `tests.fakes` has a decoder in plain torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from runtimes.session import Logits, PrefillLogits, SessionFacts, Tokens, closed


class ScriptedSession:
    """Satisfies `Session`. The likeliest after a token is its successor in `then`, or the next one.

    seen: every token since the last reset.
    """

    VOCAB: ClassVar[int] = 600

    def __init__(
        self,
        then: Mapping[int, int] | None = None,
        *,
        context: int = 64,
        prefill_logits: PrefillLogits = "none",
        broken_after: int | None = None,
    ) -> None:
        self.then, self.broken_after = dict(then or {}), broken_after
        self.seen: list[int] = []
        self.closed = False
        self._facts = SessionFacts("script", "1", "exact", self.VOCAB, context, 16, prefill_logits)

    @classmethod
    def logits_after(cls, token: int, chosen: int | None = None) -> NDArray[np.float32]:
        logits = (3 * np.random.default_rng(token).standard_normal(cls.VOCAB)).astype(np.float32)
        logits[(token + 1) % cls.VOCAB if chosen is None else chosen] = 15.0
        return logits

    @property
    def facts(self) -> SessionFacts:
        return self._facts

    @property
    def position(self) -> int:
        return len(self.seen)

    def reset(self) -> None:
        self.seen.clear()

    def prefill(self, tokens: Tokens) -> Logits:
        if self.closed:
            raise closed()
        ids = self._facts.tokens_at(self.position, tokens)
        self.seen += ids.tolist()
        rows = [self.logits_after(token, self.then.get(token)) for token in ids.tolist()]
        kept = {"all": len(ids), "last": 1, "none": 0}[self._facts.prefill_logits]
        return np.array(rows[len(ids) - kept :], np.float32).reshape(kept, self.VOCAB)

    def decode(self, token: int) -> NDArray[np.float32]:
        if self.closed:
            raise closed()
        (taken,) = self._facts.token_at(self.position, token).tolist()
        self.seen.append(taken)
        logits = self.logits_after(taken, self.then.get(taken))
        if self.broken_after is not None and self.position > self.broken_after:
            logits[0] = np.nan
        return logits

    def close(self) -> None:
        self.closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
