"""`RunningAgreement`: how two sets of logits agree, from blocks of the vocabulary as they come.

Logits are never together: sums over the vocabulary are carried from block to block, relative to the largest
logit so far, as in a streamed softmax. Exponentials are float32 and sums over blocks float64, which leaves
about 1e-7 of KL. The definitions are `exporter.evaluation.statistics`'s, which has whole rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from exporter.evaluation.statistics import Agreement

ROWS = 128  # positions at once: their share of a block stays in the cache


class RunningSoftmax:
    """Over the vocabulary so far: the largest logit, where it is, the next token's logit, and the sum of
    exponentials relative to the largest. following: true next tokens, [positions]."""

    def __init__(self, following: NDArray[np.int32]) -> None:
        count = len(following)
        self._following = torch.from_numpy(following.astype(np.int64))
        self.largest = torch.full((count,), -torch.inf)
        self.top = torch.zeros(count, dtype=torch.long)
        self.next = torch.full((count,), torch.nan)
        self.sum = torch.zeros(count, dtype=torch.float64)

    def take(self, at: slice, start: int, block: Tensor) -> tuple[Tensor, Tensor]:
        """block: [n, tokens], the logits of positions `at` for the tokens from `start`. Returns its
        exponentials [n, tokens], and what sums kept so far are to be multiplied with, [n]."""
        value, token = block.max(dim=-1)
        before = self.largest[at]
        better = value > before  # strictly: of equals, the lower token, as argmax has it
        self.top[at] = torch.where(better, start + token, self.top[at])
        # Not maximum(): a NaN must reach the figures, and a -inf with nothing before it must not make one.
        now = torch.where(better | value.isnan(), value, before)
        shrunk = torch.where(before.isneginf(), 0.0, (before - now).double().exp())
        exponentials = (block - now[:, None]).exp_()
        self.sum[at] = self.sum[at] * shrunk + exponentials.sum(dim=-1, dtype=torch.float32).double()
        self.largest[at] = now
        inside = self._following[at] - start
        here = (inside >= 0) & (inside < block.shape[1])
        self.next[at] = torch.where(
            here, block.gather(1, inside.clamp(0, block.shape[1] - 1)[:, None])[:, 0], self.next[at]
        )
        return exponentials, shrunk

    def log_sum(self) -> Tensor:
        """Logarithm of the sum of all exponentials, [positions] float64."""
        return self.largest.double() + self.sum.log()

    def nll(self) -> Tensor:
        """-log probability of the true next token, [positions] float64."""
        return self.log_sum() - self.next.double()


class RunningAgreement:
    """Of one reference with several subjects, over positions whose true next tokens are `following`."""

    def __init__(self, following: NDArray[np.int32], subjects: int) -> None:
        self._reference = RunningSoftmax(following)
        self._subjects = [RunningSoftmax(following) for _ in range(subjects)]
        # For each subject, the sum over the vocabulary of exp(r - largest r) * (r - s).
        self._moved = [torch.zeros(len(following), dtype=torch.float64) for _ in range(subjects)]

    def take(self, start: int, reference: Tensor, subjects: Sequence[Tensor]) -> None:
        """Logits of the tokens from `start`, [positions, n] each; blocks come in order."""
        for first in range(0, len(reference), ROWS):
            at = slice(first, first + ROWS)
            r = reference[at]
            weights, shrunk = self._reference.take(at, start, r)
            for softmax, moved, logits in zip(self._subjects, self._moved, subjects, strict=True):
                s = logits[at]
                softmax.take(at, start, s)
                here = (weights * (r - s)).sum(dim=-1, dtype=torch.float32)
                moved[at] = moved[at] * shrunk + here.double()

    def found(self) -> list[Agreement]:
        """Each subject's, once the whole vocabulary was taken."""
        return [
            self._found(softmax, moved) for softmax, moved in zip(self._subjects, self._moved, strict=True)
        ]

    def _found(self, subject: RunningSoftmax, moved: Tensor) -> Agreement:
        reference = self._reference
        kl = moved / reference.sum - reference.log_sum() + subject.log_sum()
        return Agreement(
            kl=np.maximum(kl.numpy(), 0.0),  # rounding leaves -1e-8 where they agree; NaN stays NaN
            same_top=(reference.top == subject.top).numpy(),
            reference_nll=reference.nll().numpy(),
            subject_nll=subject.nll().numpy(),
        )
