"""Every position is in one bin, or counted as not finite; means along the text are those of the text."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from exporter.evaluation.kl_spread import LOWEST, MOST_MEANS, PER_DECADE, spread_of

KL = st.floats(0) | st.just(math.nan)


@given(arrays(np.float64, st.integers(1, 300), elements=KL))
def test_every_position_is_counted_once(kl: np.ndarray[tuple[int], np.dtype[np.float64]]) -> None:
    found = spread_of(kl, along=True)
    assert sum(found.counts) + found.not_finite == len(kl)
    assert all(found.counts[:1] + found.counts[-1:]), "trimmed to what is held"
    assert len(found.means) <= MOST_MEANS
    assert (len(found.means) - 1) * found.step < len(kl) <= len(found.means) * found.step


def test_a_figure_is_in_the_bin_that_holds_it() -> None:
    found = spread_of(np.array([0.0, 1.5e-3, 1.6e-3, 0.2, math.nan]), along=False)
    edges = [10 ** (found.lowest_exponent + at / PER_DECADE) for at in range(len(found.counts) + 1)]
    assert edges[0] == pytest.approx(10.0**LOWEST), "no divergence at all is in the first bin"
    (both,) = [at for at, count in enumerate(found.counts) if count == 2]
    assert edges[both] <= 1.5e-3 < 1.6e-3 < edges[both + 1]
    assert edges[-2] <= 0.2 < edges[-1]
    assert found.not_finite == 1
    assert found.means == ()


def test_means_run_along_the_text() -> None:
    found = spread_of(np.arange(130, dtype=np.float64), along=True)
    assert found.step == 3
    assert found.means[0] == 1.0
    assert found.means[-1] == 129.0, "the last has what is left"
