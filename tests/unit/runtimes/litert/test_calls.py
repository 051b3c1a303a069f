from __future__ import annotations

import numpy as np
import pytest

from runtimes.litert.calls import MASK, POSITIONS, TOKENS, GraphCall, call_inputs, prefill_calls
from runtimes.session import SessionFacts

FACTS = SessionFacts("LiteRT", "0", "fp32", 512, 20, 8, "none")


def test_a_prefill_is_chunks_the_last_of_them_padded() -> None:
    first, second = prefill_calls(np.arange(1, 12, dtype=np.int32), 1, FACTS)
    assert (first.signature, first.position, first.count) == ("prefill", 1, 8)
    assert (second.signature, second.position, second.count) == ("prefill", 9, 3)
    assert first.tokens.tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert second.tokens.tolist() == [9, 10, 11, 0, 0, 0, 0, 0]


def test_where_a_padded_chunk_would_not_fit_tokens_go_one_by_one() -> None:
    calls = list(prefill_calls(np.arange(9, dtype=np.int32), 10, FACTS))
    assert [(call.signature, call.position, call.count) for call in calls] == [
        ("prefill", 10, 8),
        ("decode", 18, 1),
    ]


@pytest.mark.parametrize("position", [0, 5])
def test_a_token_sees_itself_and_what_came_before(position: int) -> None:
    call = GraphCall("prefill", np.zeros(8, np.int32), position, 8)
    inputs = call_inputs(call, 20)
    assert inputs[TOKENS].shape == (1, 8)
    assert inputs[POSITIONS].tolist() == list(range(position, position + 8))
    seen = (inputs[MASK] == 0).sum(-1)
    assert inputs[MASK].shape == (1, 1, 8, 20)
    assert seen.reshape(-1).tolist() == list(range(position + 1, position + 9))
    assert (inputs[MASK][0, 0, :, -1] < -1e8).all()
