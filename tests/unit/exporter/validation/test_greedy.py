from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from exporter.models.text.eager import effective_weights
from exporter.reference.weights import OriginalWeights
from exporter.validation.greedy import GREEDY_TOKENS, Continuation, agreed_tokens, continue_greedily
from runtimes.session import SessionFacts
from tests.fakes import EagerSession, silent
from tests.tiny import RandomSource, tiny_gemma3

PROMPT = np.array([2, 70, 90, 110], np.int32)


@pytest.fixture(scope="module")
def source() -> RandomSource:
    return RandomSource(tiny_gemma3())


def open_eager(source: RandomSource, context: int) -> EagerSession:
    stored = {name: torch.from_numpy(values) for name, values in source.weights.items()}
    facts = SessionFacts("eager torch", "0", "fp32", 512, context, 8, "none")
    spec = source.components["text"].spec
    return EagerSession(spec, effective_weights(spec, stored), facts)


@pytest.fixture(scope="module")
def continuation(source: RandomSource) -> Continuation:
    return continue_greedily(open_eager(source, 128), "a prompt", PROMPT)


def test_an_honest_continuation_is_the_references_own(
    source: RandomSource, continuation: Continuation
) -> None:
    assert len(continuation.tokens) == len(PROMPT) + GREEDY_TOKENS
    assert agreed_tokens(OriginalWeights(source), [continuation], silent) == [GREEDY_TOKENS]


@pytest.mark.parametrize("wrong", [0, 1, 40, 63])
def test_agreement_ends_at_the_first_token_the_reference_would_not_choose(
    wrong: int, source: RandomSource, continuation: Continuation
) -> None:
    tokens = continuation.tokens.copy()
    tokens[len(PROMPT) + wrong] = (tokens[len(PROMPT) + wrong] + 1) % 512
    changed = replace(continuation, tokens=tokens)
    short = replace(continuation, tokens=continuation.tokens[:20])
    found = agreed_tokens(OriginalWeights(source), [continuation, short, changed], silent)
    assert found == [GREEDY_TOKENS, 16, wrong]


def test_tokens_end_where_the_context_does(source: RandomSource) -> None:
    found = continue_greedily(open_eager(source, 10), "a prompt", PROMPT)
    assert len(found.tokens) == 10


def test_a_prompt_of_one_token_needs_no_prefill(source: RandomSource) -> None:
    session = open_eager(source, 8)
    assert len(continue_greedily(session, "", PROMPT[:1]).tokens) == 8
