"""How far two sets of logits over the same tokens are apart, in float64, a few positions at a time.

Peak memory is three blocks of `BLOCK_BYTES` a thread. Not about limits (`gates`) or where logits come from.

Definitions, for reference p = softmax(r), subject q = softmax(s), next token t (as in llama.cpp's
tools/perplexity, "KL divergence"):
    KL          sum over the vocabulary of p * (log p - log q)
    top-1       argmax r = argmax s
    perplexity  exp(mean of -log p[t]); ratio exp(mean of (log p[t] - log q[t])), its standard error by
                the delta method: ratio * standard error of that mean, position differences being paired
    Δp RMS      square root of the mean of (q[t] - p[t])²
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from exporter.validation.report import Statistics
from runtimes.session import Logits

BLOCK_BYTES = 4 << 20  # of one float64 block of logits: small enough for the cache


@dataclass(frozen=True)
class Agreement:
    """What is kept of each position, [positions] each; logits themselves are not.

    reference_nll, subject_nll: -log probability of the true next token.
    """

    kl: NDArray[np.float64]
    same_top: NDArray[np.bool_]
    reference_nll: NDArray[np.float64]
    subject_nll: NDArray[np.float64]

    @staticmethod
    def joined(parts: Sequence[Agreement]) -> Agreement:
        """Several runs of positions as one."""
        return Agreement(
            *(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Agreement))
        )

    def statistics(self) -> Statistics:
        """Figures over all positions. Any non-finite logit makes the figures it enters non-finite."""
        count = len(self.kl)
        difference = self.subject_nll - self.reference_nll
        ratio = float(np.exp(difference.mean()))
        error = float(difference.std(ddof=1) / np.sqrt(count)) if count > 1 else 0.0
        moved = np.exp(-self.subject_nll) - np.exp(-self.reference_nll)
        with np.errstate(invalid="ignore"):
            median, kl_90, kl_99, kl_999 = np.quantile(self.kl, (0.5, 0.9, 0.99, 0.999)).tolist()
        return Statistics(
            positions=count,
            mean_kl=float(self.kl.mean()),
            median_kl=median,
            kl_90=kl_90,
            kl_99=kl_99,
            kl_999=kl_999,
            max_kl=float(self.kl.max()),
            top1=float(self.same_top.mean()),
            reference_perplexity=float(np.exp(self.reference_nll.mean())),
            perplexity_ratio=ratio,
            perplexity_ratio_error=ratio * error,
            delta_p_rms=float(np.sqrt(np.square(moved).mean())),
        )


def agree(reference: Logits, subject: Logits, next_tokens: NDArray[np.int32]) -> Agreement:
    """Compare logits [positions, vocab] of the same positions; next_tokens [positions]."""
    threads = min(os.cpu_count() or 1, len(reference))
    ends = [len(reference) * i // threads for i in range(threads + 1)]
    shares = [slice(*share) for share in pairwise(ends)]
    with ThreadPoolExecutor(threads) as pool:  # numpy lets go of the interpreter's lock
        return Agreement.joined(
            list(
                pool.map(
                    _agree,
                    (reference[share] for share in shares),
                    (subject[share] for share in shares),
                    (next_tokens[share] for share in shares),
                )
            )
        )


def _agree(reference: Logits, subject: Logits, next_tokens: NDArray[np.int32]) -> Agreement:
    positions, vocab = reference.shape
    step = min(positions, max(1, BLOCK_BYTES // (vocab * 8)))
    scratch = np.empty((3, step, vocab))  # allocated once: page faults cost more than exponentials
    parts = []
    for start in range(0, positions, step):
        here = slice(start, start + step)
        with np.errstate(invalid="ignore"):  # infinite logits give NaN, and NaN fails every gate
            parts.append(_agree_block(reference[here], subject[here], next_tokens[here], scratch))
    return Agreement.joined(parts)


def _agree_block(
    reference: Logits, subject: Logits, next_tokens: NDArray[np.int32], scratch: NDArray[np.float64]
) -> Agreement:
    at = np.arange(len(reference))
    r, s, difference = scratch[:, : len(reference)]  # [n, vocab] each
    np.subtract(reference, reference.max(-1, keepdims=True), out=r, dtype=np.float64)
    np.subtract(subject, subject.max(-1, keepdims=True), out=s, dtype=np.float64)
    r_next, s_next = r[at, next_tokens], s[at, next_tokens]
    np.subtract(r, s, out=difference)
    r_sum, s_sum = np.exp(r, out=r).sum(-1), np.exp(s, out=s).sum(-1)
    # log p - log q = (r - log sum r) - (s - log sum s): the sums are taken out of the expectation.
    kl = np.einsum("ij,ij->i", r, difference) / r_sum - np.log(r_sum) + np.log(s_sum)
    return Agreement(
        kl=np.maximum(kl, 0.0),  # rounding leaves -1e-16 where they agree; NaN stays NaN
        same_top=reference.argmax(-1) == subject.argmax(-1),
        reference_nll=np.log(r_sum) - r_next,
        subject_nll=np.log(s_sum) - s_next,
    )
