"""`MomentsFactor`: second moments in the order in which columns are rounded, and their triangular factor.

    H = (U + I) D (U + I)ᵀ,  U strictly upper triangular, D a positive diagonal

so that e H eᵀ = Σ_k D_k (e_k + Σ_{i<k} e_i U_ik)²: the error of a column beside what those before it left
behind. Groups of columns come by falling energy, and so do columns within a group: what counts most is
rounded first, while later columns can still make up for it. A mean of few tokens is partly noise, and what
it says of two inputs together may be shrunk by that first; what enters at the token that begins a text is
not, and may count for itself. Not about codes (`error_feedback`).
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
# What the token that begins every text counts for, beside all others together and at their mean energy: its
# errors fall to a hundredth, others' rise by hundredths (docs/adr/0037).
OPENING_SHARE = 0.1


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
    second: NDArray[np.float32],
    group: int,
    damping: float,
    noise: float = 0.0,
    opening: NDArray[np.float32] | None = None,
) -> MomentsFactor:
    """Of moments [in, in], for columns in groups of `group`.

    damping: share of the mean energy that is added to every column's, so that inputs which never varied
    are rounded as if they had a little. noise: share that products of different inputs lose. opening: x at
    the token that begins every text, [in], which is added as often as brings it to OPENING_SHARE.
    Raises ValueError for moments that are not finite.
    """
    energy = np.diagonal(second)
    if not np.isfinite(energy).all():
        raise ValueError("a second moment is not finite")
    mean = float(energy.mean())
    begins = np.zeros_like(energy) if opening is None else _at_energy(opening, OPENING_SHARE * mean)
    by_group = (energy + np.square(begins)).reshape(-1, group)
    groups = np.argsort(-by_group.sum(axis=1), kind="stable")
    within = np.argsort(-by_group, axis=1, kind="stable")
    order = (groups[:, None] * group + within[groups]).reshape(-1)
    ordered = second[np.ix_(order, order)]
    if noise:
        ordered *= np.float32(1 - noise)
        np.fill_diagonal(ordered, energy[order])
    ordered[np.diag_indices_from(ordered)] += np.float32(damping * mean if mean > SMALLEST_ENERGY else 1.0)
    if opening is not None:
        ordered += np.outer(begins[order], begins[order])
    # Cholesky of the reversed matrix, reversed again: an upper factor R of H = R Rᵀ.
    lower = torch.linalg.cholesky(torch.from_numpy(np.ascontiguousarray(ordered[::-1, ::-1])))
    upper = np.ascontiguousarray(lower.numpy()[::-1, ::-1])
    diagonal = np.diagonal(upper).copy()
    upper /= diagonal
    np.fill_diagonal(upper, 0)
    return MomentsFactor(order, ordered, upper, np.square(diagonal))


def _at_energy(inputs: NDArray[np.float32], wanted: float) -> NDArray[np.float32]:
    """The vector [in] at another mean square; as it is where it has next to none."""
    energy = float(np.square(inputs).mean())
    if energy < SMALLEST_ENERGY:
        return inputs
    brought: NDArray[np.float32] = inputs * np.float32(np.sqrt(wanted / energy))
    return brought
