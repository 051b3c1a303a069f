"""Tiny models that answer one prompt with a few tokens and a turn's end, and hang on all of the prompt.

The weights are random, so that another prompt has another answer: one `<bos>` too many is seen. Not about
models that say given tokens whatever they are asked (`tests.speaking`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from tests.reference import transformers_model
from tests.tiny import RandomSource

EMBEDDING, LAST_NORM = "model.embed_tokens.weight", "model.norm.weight"
LOUD = range(1000, 1400)  # of a Gemma 3's vocabulary: parts of words
# A tied embedding says again what it was given, unless it is small beside what layers add; and of 262,144
# random logits the first two are as good as equal, unless most rows are smaller still.
SMALL, SMALLER, AGAIN = 0.1, 0.01, 40.0
CLEAR = 0.1  # logits between the likeliest token and the next; half precision loses far less


def make_answer(source: RandomSource, prompt: Sequence[int], tokens: int, end: int | None) -> list[int]:
    """Change weights in place. Returns the tokens the model then says, `end` behind them if there is one.

    end: a token the prompt does not hold. It changes places with what the model says behind the tokens.
    """
    embedding, loud = source.weights[EMBEDDING], slice(LOUD.start, LOUD.stop)
    embedding[loud] *= SMALL / SMALLER
    embedding *= SMALLER
    source.weights[LAST_NORM] = AGAIN * (1.0 + source.weights[LAST_NORM]) - 1.0  # norms add 1
    model, said = transformers_model(source.architecture, source.weights), list[int]()
    while len(said) <= tokens:
        with torch.no_grad():
            logits = model(torch.tensor([[*prompt, *said]]), use_cache=False).logits[0, -1]
        best, next_best = logits.topk(2).values.tolist()
        assert best - next_best > CLEAR
        said.append(int(logits.argmax()))
    if end is None:
        return said[:tokens]
    last = said[tokens]
    assert end not in prompt
    assert last not in (*prompt, *said[:tokens])
    embedding[[last, end]] = embedding[[end, last]]
    return [*said[:tokens], end]
