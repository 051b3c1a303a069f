"""Choosing the next token: the most likely one, or by chance in proportion to its probability.

Nothing else (top-k, top-p, penalties): what a model says is to be seen, not bettered.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Choose = Callable[[NDArray[np.float32]], int]
"""Logits [vocab], finite, to a token."""


def greedy(logits: NDArray[np.float32]) -> int:
    return int(logits.argmax())


def sampler(temperature: float, seed: int | None) -> Choose:
    """temperature: what logits are divided by, 0 for greedy. seed: None for other choices each time."""
    if temperature == 0:
        return greedy
    generator = np.random.default_rng(seed)

    def choose(logits: NDArray[np.float32]) -> int:
        exact = logits.astype(np.float64)
        with np.errstate(over="ignore"):  # what is far from the largest may divide to minus infinity
            shares = np.exp((exact - exact.max()) / temperature).cumsum()
        return int(np.searchsorted(shares, generator.random() * shares[-1], side="right"))

    return choose
