"""`Session`: a decoder and its KV cache, opened from one artifact and ready to be fed tokens.

The interface every driver of a decoder implements and every comparison is written against. It says
nothing about sampling, tokenizers or chat templates, nor about what keeps no state between calls
(`runtimes.encoder`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from runtimes.errors import SessionError

Tokens = NDArray[np.int32]  # [tokens]
Logits = NDArray[np.float32]  # [positions, vocab]

PrefillLogits = Literal["all", "last", "none"]
"""Which positions of a prefill an artifact returns logits for."""


@dataclass(frozen=True)
class SessionFacts:
    """What is known of an opened artifact before it has run.

    runtime, version: the vendor runtime that executes it ("LiteRT", "2.3.0").
    arithmetic: how activations are computed, in words ("fp32", "fp16, rounded per operation").
    prefill_logits: positions of a prefill that come back with logits.
    prefill_chunk: tokens the artifact takes at once; drivers split longer prompts themselves.
    """

    runtime: str
    version: str
    arithmetic: str
    vocab_size: int
    context: int
    prefill_chunk: int
    prefill_logits: PrefillLogits

    def tokens_at(self, position: int, tokens: object) -> Tokens:
        """What a prefill was given, as ids of the vocabulary that fit behind `position`.

        Raises SessionError for anything but a list of at least one of them: every driver's first step.
        """
        try:
            ids = np.asarray(tokens)
        except ValueError as error:  # rows of unequal length
            raise SessionError("tokens are a list of integers, got a ragged one") from error
        if ids.shape == (0,):
            raise SessionError("no tokens were given; give at least one")
        if ids.ndim != 1 or not np.issubdtype(ids.dtype, np.integer):
            raise SessionError(f"tokens are a list of integers, got {ids.dtype}{list(ids.shape)}")
        outside = ids[(ids < 0) | (ids >= self.vocab_size)]
        if len(outside):
            raise self._outside(int(outside[0]))
        if position + len(ids) > self.context:
            raise SessionError(
                f"{len(ids)} tokens at position {position} exceed the context of {self.context}; "
                "reset the session, or export with a longer --context"
            )
        return ids.astype(np.int32)

    def token_at(self, position: int, token: object) -> Tokens:
        """What a decode was given, [1]: as `tokens_at`. Numbers that are not integers are not rounded."""
        if isinstance(token, (bool, np.bool_)) or not isinstance(token, (int, np.integer)):
            raise SessionError(f"a token is an integer, got {type(token).__name__}")
        if not 0 <= token < self.vocab_size:
            raise self._outside(int(token))
        return self.tokens_at(position, [int(token)])

    def logits_of_prefill(self, parts: Iterable[Logits], tokens: int) -> Logits:
        """What a prefill of so many tokens returns, of what its calls did in order; each is kept no longer
        than it takes to copy what of it is returned."""
        every = self.prefill_logits == "all"
        rows = tokens if every else int(self.prefill_logits == "last")
        logits = np.empty((rows, self.vocab_size), np.float32)
        done = 0
        for part in parts:
            if every:
                logits[done : done + len(part)] = part
                done += len(part)
            else:
                logits[:] = part[len(part) - rows :]
        return logits

    def _outside(self, token: int) -> SessionError:
        return SessionError(
            f"token {shortened(token)} is outside the vocabulary of {self.vocab_size}; "
            "encode with the tokenizer of this release"
        )


def closed() -> SessionError:
    """For a call of a session that was closed."""
    return SessionError("the session is closed; open the artifact again")


def shortened(number: int) -> str:
    """An integer's digits, or how large it is where nobody wants to read them."""
    return str(number) if number.bit_length() <= 64 else f"of {number.bit_length()} bits"


class Session(Protocol):
    """What runs a decoder with a cache: an opened artifact and the tokens it has seen, batch 1.

    Positions start at 0 and grow by one per token; `prefill` and `decode` may alternate freely.
    """

    @property
    def facts(self) -> SessionFacts: ...

    @property
    def position(self) -> int:
        """Tokens in the cache: the position the next token will take."""
        ...

    def reset(self) -> None:
        """Forget every token; the session then behaves as newly opened."""
        ...

    def prefill(self, tokens: Tokens) -> Logits:
        """Append tokens to the cache.

        Returns [k, vocab] with k = len(tokens), 1 or 0, as `facts.prefill_logits` says "all",
        "last" or "none". Raises SessionError for no tokens, past the context or for a token out of range;
        the session is then as it was.
        """
        ...

    def decode(self, token: int) -> NDArray[np.float32]:
        """Append one token; returns its logits, [vocab]. Raises SessionError as `prefill` does."""
        ...

    def close(self) -> None:
        """Release the runtime's memory. A closed session cannot be used again."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...
