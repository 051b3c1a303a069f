from __future__ import annotations

import numpy as np
import pytest

from exporter.errors import UsageError
from exporter.evaluation.figures import figures
from exporter.evaluation.statistics import Agreement


def agreement(kl: np.ndarray, seed: int = 0) -> Agreement:
    random = np.random.default_rng(seed)
    nll = random.exponential(2.0, len(kl))
    return Agreement(kl, random.random(len(kl)) < 0.8, nll, nll + 0.1 * random.standard_normal(len(kl)))


def independent(count: int, seed: int = 0) -> Agreement:
    return agreement(np.random.default_rng(seed).exponential(0.2, count), seed)


def test_independent_positions_have_the_usual_standard_error() -> None:
    found = figures({"only": independent(40_000)})
    statistics, errors = found.statistics, found.errors
    assert errors.mean_kl == pytest.approx(0.2 / 200, rel=0.1)
    assert errors.top1 == pytest.approx(0.4 / 200, rel=0.1)
    assert errors.perplexity_ratio == pytest.approx(statistics.perplexity_ratio_error, rel=0.1)


def test_positions_that_are_alike_in_runs_of_a_block_count_as_one() -> None:
    runs = np.repeat(np.random.default_rng(1).exponential(0.2, 1000), 32)
    found = figures({"only": agreement(runs)})
    assert found.errors.mean_kl == pytest.approx(0.2 / np.sqrt(1000), rel=0.1)


def test_the_error_is_how_far_means_of_such_texts_scatter() -> None:
    """A last block shorter than the others, and neighbours that are alike."""

    def drawn(seed: int) -> Agreement:
        random = np.random.default_rng(seed)
        return agreement(np.repeat(random.exponential(0.2, 80), 10)[:797], seed)

    found = [figures({"only": drawn(seed)}) for seed in range(300)]
    scatter = np.std([each.statistics.mean_kl for each in found])
    assert np.mean([each.errors.mean_kl for each in found]) == pytest.approx(scatter, rel=0.2)


def test_that_domains_differ_is_no_error_of_their_mean() -> None:
    hard, easy = np.full(640, 1.0), np.full(320, 0.1)
    found = figures({"hard": agreement(hard), "easy": agreement(easy)})
    assert found.statistics.mean_kl == pytest.approx(0.7)
    assert found.errors.mean_kl == pytest.approx(0.0, abs=1e-12)


def test_errors_of_domains_add_up_by_their_share() -> None:
    parts = {name: independent(count, seed) for name, count, seed in (("a", 640, 3), ("b", 1920, 4))}
    one, other = (figures({name: found}).errors.mean_kl for name, found in parts.items())
    assert figures(parts).errors.mean_kl == pytest.approx(np.hypot(0.25 * one, 0.75 * other))


def test_a_domain_of_one_block_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match="domain short: 32 positions are one block"):
        figures({"long": independent(100), "short": independent(32)})
