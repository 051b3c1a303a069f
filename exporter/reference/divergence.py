"""`Divergences`: KL of several sets of logits from one, which come a block of the vocabulary at a time.

    KL = Σ e^(r - R) (r - o) - (R - O),  R and O being the logarithms of Σ e^r and Σ e^o

Kept for every position: the largest logits so far and three sums relative to them, in float64. Not about
where logits come from (`streamed`) or what is said of them (`exporter.validation.statistics`).
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


class Divergences:
    """Of `count` sets of logits at `positions` positions each."""

    def __init__(self, count: int, positions: int) -> None:
        self._reference = _LogSum(positions)
        self._others = [_LogSum(positions) for _ in range(count)]
        self._apart = torch.zeros(count, positions, dtype=torch.float64)

    def take(self, reference: Tensor, others: Iterable[Tensor]) -> None:
        """The same tokens' logits, [positions, n] each, the others in order."""
        shrunk, shares = self._reference.add(reference)
        for number, logits in enumerate(others):
            self._others[number].add(logits)
            apart = torch.einsum("pn,pn->p", shares, reference - logits).double()
            self._apart[number] = self._apart[number] * shrunk + apart

    def means(self) -> list[float]:
        """Mean KL over positions, in nats, of each set in order."""
        whole = self._reference
        return [
            float((apart / whole.total - whole.logarithm + other.logarithm).clamp(min=0).mean())
            for apart, other in zip(self._apart, self._others, strict=True)
        ]


class _LogSum:
    """Σ e^x of what was added, as its largest x and a sum relative to it."""

    def __init__(self, positions: int) -> None:
        self.largest = torch.full((positions,), -torch.inf)
        self.total = torch.zeros(positions, dtype=torch.float64)

    def add(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """What sums so far shrink by, [positions], and e^(x - largest) of these, [positions, n]."""
        largest = torch.maximum(self.largest, logits.amax(dim=-1))
        shrunk = torch.exp((self.largest - largest).double())
        shares = torch.exp(logits - largest[:, None])
        self.total = self.total * shrunk + shares.sum(dim=-1, dtype=torch.float64)
        self.largest = largest
        return shrunk, shares

    @property
    def logarithm(self) -> Tensor:
        return self.largest.double() + self.total.log()
