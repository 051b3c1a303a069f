"""`MomentsFactor`: second moments in the order in which columns are rounded, and their triangular factor.

    H = (U + I) D (U + I)ᵀ,  U strictly upper triangular, D a positive diagonal

so that e H eᵀ = Σ_k D_k (e_k + Σ_{i<k} e_i U_ik)²: the error of a column beside what those before it left
behind. Groups of columns come by falling energy, and so do columns within a group: what counts most is
rounded first, while later columns can still make up for it. A mean of few tokens is partly noise, and what
it says of two inputs together may be shrunk by that first. Not about codes (`error_feedback`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

# Below it float32 does not hold what is computed with it: as good as no input at all.
SMALLEST_ENERGY = 1e-30
# Noise beside what products of inputs say, of one token for each input. Near the least error on unseen text
# for 640 to 2,048 inputs (docs/adr/0036).
NOISE_OF_A_TOKEN = 2.5


@dataclass(frozen=True)
class MomentsFactor:
    """order: column that comes k-th, [in]. second: H so ordered, damped, [in, in]. feedback: U, [in, in].
    conditional: D, [in]."""

    order: NDArray[np.intp]
    second: NDArray[np.float32]
    feedback: NDArray[np.float32]
    conditional: NDArray[np.float32]


def share_of_noise(inputs: int, tokens: int) -> float:
    """Of means of products of different inputs over so many tokens: noise / (noise + signal), as Ledoit and
    Wolf (2004) shrink, the noise being in proportion to inputs a token."""
    noise = NOISE_OF_A_TOKEN * inputs / tokens
    return noise / (1 + noise)


def factor_moments(
    second: NDArray[np.float32], group: int, damping: float, noise: float = 0.0
) -> MomentsFactor:
    """Of moments [in, in], for columns in groups of `group`.

    damping: share of the mean energy that is added to every column's, so that inputs which never varied
    are rounded as if they had a little. noise: share that products of different inputs lose.
    Raises ValueError for moments that are not finite.
    """
    energy = np.diagonal(second)
    if not np.isfinite(energy).all():
        raise ValueError("a second moment is not finite")
    by_group = energy.reshape(-1, group)
    groups = np.argsort(-by_group.sum(axis=1), kind="stable")
    within = np.argsort(-by_group, axis=1, kind="stable")
    order = (groups[:, None] * group + within[groups]).reshape(-1)
    ordered = second[np.ix_(order, order)]
    if noise:
        ordered *= np.float32(1 - noise)
        np.fill_diagonal(ordered, energy[order])
    mean = float(energy.mean())
    ordered[np.diag_indices_from(ordered)] += np.float32(damping * mean if mean > SMALLEST_ENERGY else 1.0)
    # Cholesky of the reversed matrix, reversed again: an upper factor R of H = R Rᵀ.
    lower = torch.linalg.cholesky(torch.from_numpy(np.ascontiguousarray(ordered[::-1, ::-1])))
    upper = np.ascontiguousarray(lower.numpy()[::-1, ::-1])
    diagonal = np.diagonal(upper).copy()
    upper /= diagonal
    np.fill_diagonal(upper, 0)
    return MomentsFactor(order, ordered, upper, np.square(diagonal))
