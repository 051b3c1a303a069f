"""Calls that every driver of a decoder refuses, in the same words: the contract suite's and Core ML's.

Not about calls of a closed session.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from runtimes.errors import SessionError
from runtimes.session import Session

INTEGER, LIST = "a token is an integer, got", "tokens are a list of integers, got"
OUTSIDE = "outside the vocabulary of {vocab}; encode with the tokenizer of this release"
NONE = "no tokens were given; give at least one"


def token_words(token: Any, vocab: int) -> str:
    """What a decode of something that is no token of the vocabulary says."""
    if isinstance(token, (bool, np.bool_)) or not isinstance(token, (int, np.integer)):
        return f"{INTEGER} {type(token).__name__}"
    bits = int(token).bit_length()
    shown = f"of {bits} bits" if bits > 64 else str(token)
    return f"token {shown} is {OUTSIDE.format(vocab=vocab)}"


TOKENS: tuple[Any, ...] = (
    *(3.7, 3.0, True, False, np.True_, np.float32(3), None, "3", [3]),
    *(-1, 2**31, 2**31 - 1, 2**63, 2**200, -(2**200), np.int64(2**40)),
)

PREFILLS: tuple[tuple[Any, str], ...] = (
    ([], NONE),
    (np.zeros(0, np.int32), NONE),
    (np.zeros((1, 2), np.int32), f"{LIST} int32[1, 2]"),
    (np.zeros((0, 2), np.int32), f"{LIST} int32[0, 2]"),
    (np.array([2.0, 3.0], np.float32), f"{LIST} float32[2]"),
    (np.array([True]), f"{LIST} bool[1]"),
    (np.array([3, None]), f"{LIST} object[2]"),
    (3, f"{LIST} int64[]"),
    ([[3], [3, 4]], f"{LIST} a ragged one"),
    (np.array([3, 2**31]), f"token {2**31} is {OUTSIDE}"),
    (np.array([3, -1]), f"token -1 is {OUTSIDE}"),
    ([3, 2**200], f"{LIST} object[2]"),
)


def refusal_of(call: Any, argument: object) -> str:
    with pytest.raises(SessionError) as caught:
        call(argument)
    return str(caught.value)


def check_refusals(session: Session) -> None:
    """Every refused call, after a served one, leaves the position and the logits that follow alone."""
    vocab, context = session.facts.vocab_size, session.facts.context
    session.reset()
    session.prefill(np.array([3, 4], np.int32))
    expected = session.decode(5)
    session.reset()
    session.prefill(np.array([3, 4], np.int32))
    for token in TOKENS:
        assert refusal_of(session.decode, token) == token_words(token, vocab)
        assert session.position == 2
    for tokens, words in PREFILLS:
        assert refusal_of(session.prefill, tokens) == words.format(vocab=vocab)
        assert session.position == 2
    words = (
        f"{context} tokens at position 2 exceed the context of {context}; "
        "reset the session, or export with a longer --context"
    )
    assert refusal_of(session.prefill, np.full(context, 3, np.int32)) == words
    np.testing.assert_array_equal(session.decode(5), expected)
    session.prefill(np.full(context - 3, 3, np.int32))
    assert refusal_of(session.decode, 3) == (
        f"1 tokens at position {context} exceed the context of {context}; "
        "reset the session, or export with a longer --context"
    )
    assert session.position == context
    session.reset()
    session.prefill([3, 4])  # type: ignore[arg-type]  # a list is taken, as numpy takes one
    np.testing.assert_array_equal(session.decode(np.int64(5)), expected)  # type: ignore[arg-type]
