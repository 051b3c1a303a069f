"""`Figures`: statistics of a domain, with standard errors that know that neighbours are alike.

Positions of one text are not independent draws: a hard passage is hard for a while. Errors are those of
means over blocks of BLOCK neighbouring positions (the ratio estimator of clustered samples; Cochran,
Sampling Techniques, 6.3), and a domain is a stratum: which there are was not drawn. Not about limits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exporter.errors import UsageError
from exporter.evaluation.statistics import Agreement, Statistics

BLOCK = 32  # positions


@dataclass(frozen=True)
class StandardErrors:
    """Of the mean KL, of the share of equal top tokens, and of the perplexity ratio."""

    mean_kl: float
    top1: float
    perplexity_ratio: float


@dataclass(frozen=True)
class Figures:
    """statistics' own perplexity_ratio_error takes positions as independent; `errors` does not."""

    statistics: Statistics
    errors: StandardErrors


def figures(domains: Mapping[str, Agreement], block: int = BLOCK) -> Figures:
    """Of all positions of some domains together. Raises UsageError for a domain of fewer than two blocks,
    which has no error."""
    whole = Agreement.joined(list(domains.values()))
    statistics, count = whole.statistics(), len(whole.kl)
    variances = np.zeros(3)
    for name, found in domains.items():
        if len(found.kl) <= block:
            raise UsageError(
                f"domain {name}",
                f"{len(found.kl)} positions are one block of {block}, which has no standard error",
                "give it more text",
            )
        share = len(found.kl) / count
        moved = found.subject_nll - found.reference_nll
        columns = np.stack([found.kl, found.same_top.astype(np.float64), moved])
        variances += share**2 * _variances(columns, block)
    kl, top1, log_ratio = np.sqrt(variances).tolist()
    return Figures(statistics, StandardErrors(kl, top1, statistics.perplexity_ratio * log_ratio))


def _variances(columns: NDArray[np.float64], block: int) -> NDArray[np.float64]:
    """Of the mean of each of some columns [columns, positions], by blocks of neighbours."""
    positions = columns.shape[1]
    starts = np.arange(0, positions, block)
    sizes = np.diff(np.append(starts, positions))
    sums = np.add.reduceat(columns, starts, axis=1)
    residuals = sums - columns.mean(axis=1, keepdims=True) * sizes
    blocks = len(starts)
    found: NDArray[np.float64] = np.square(residuals).sum(axis=1) / positions**2 * blocks / (blocks - 1)
    return found
