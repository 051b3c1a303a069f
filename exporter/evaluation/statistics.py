"""How far two sets of logits over the same tokens are apart, in float64, a few positions at a time.

Peak memory is three blocks of `BLOCK_BYTES` a thread, and a reference's rows for one. Not about limits
(`gates`) or where logits come from.

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
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from runtimes.session import Logits

RowReader = Callable[[int, int], Logits]
"""Logits of positions from one to another, counted as the subject's are, [n, vocab]."""

BLOCK_BYTES = 4 << 20  # of one float64 block of logits: small enough for the cache


@dataclass(frozen=True)
class Statistics:
    """Agreement of two sets of logits over the same tokens. KL(reference ‖ subject) in nats, float64.

    top1: share of positions with the same argmax. perplexity_ratio: subject / reference, with its
    standard error. delta_p_rms: RMS difference of the probability of the true next token.
    """

    positions: int
    mean_kl: float
    median_kl: float
    kl_90: float
    kl_99: float
    kl_999: float
    max_kl: float
    top1: float
    reference_perplexity: float
    perplexity_ratio: float
    perplexity_ratio_error: float
    delta_p_rms: float


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

    def positions_from(self, start: int, stop: int) -> Agreement:
        """Of positions start to stop alone."""
        return Agreement(*(getattr(self, field.name)[start:stop] for field in fields(self)))

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
    (found,) = agree_with_each([lambda start, stop: reference[start:stop]], subject, next_tokens)
    return found


def agree_with_each(
    references: Sequence[RowReader], subject: Logits, next_tokens: NDArray[np.int32]
) -> list[Agreement]:
    """`agree` with several references, which are read a few rows at a time, by the threads that compare.

    What does not depend on the reference is computed once. Raises what reading raises.
    """
    threads = min(os.cpu_count() or 1, len(subject))
    ends = [len(subject) * i // threads for i in range(threads + 1)]
    with ThreadPoolExecutor(threads) as pool:  # numpy lets go of the interpreter's lock
        shares = pool.map(lambda ends: _agree(references, subject, next_tokens, *ends), pairwise(ends))
        return _joined_each(list(shares))


def _joined_each(parts: Sequence[Sequence[Agreement]]) -> list[Agreement]:
    """From each run of positions' agreements, one a reference, to each reference's over all of them."""
    return [Agreement.joined(of_reference) for of_reference in zip(*parts, strict=True)]


def _agree(
    references: Sequence[RowReader],
    subject: Logits,
    next_tokens: NDArray[np.int32],
    first: int,
    end: int,
) -> list[Agreement]:
    """Positions first to end."""
    vocab = subject.shape[1]
    step = min(end - first, max(1, BLOCK_BYTES // (vocab * 8)))
    scratch = np.empty((3, step, vocab))  # allocated once: page faults cost more than exponentials
    parts = []
    for start in range(first, end, step):
        stop = min(end, start + step)
        read = (reference(start, stop) for reference in references)
        with np.errstate(invalid="ignore"):  # infinite logits give NaN, and NaN fails every gate
            parts.append(_agree_block(read, subject[start:stop], next_tokens[start:stop], scratch))
    return _joined_each(parts)


def _agree_block(
    references: Iterable[Logits],
    subject: Logits,
    next_tokens: NDArray[np.int32],
    scratch: NDArray[np.float64],
) -> list[Agreement]:
    at = np.arange(len(subject))
    r, s, work = scratch[:, : len(subject)]  # [n, vocab] each
    s_top = subject.argmax(-1)
    np.subtract(subject, subject[at, s_top][:, None], out=s, dtype=np.float64)
    s_log_sum, s_next = np.log(np.exp(s, out=work).sum(-1)), s[at, next_tokens]
    found = []
    for reference in references:
        r_top = reference.argmax(-1)
        np.subtract(reference, reference[at, r_top][:, None], out=r, dtype=np.float64)
        r_next = r[at, next_tokens]
        np.subtract(r, s, out=work)
        r_sum = np.exp(r, out=r).sum(-1)
        # log p - log q = (r - log sum r) - (s - log sum s): the sums are taken out of the expectation.
        kl = np.einsum("ij,ij->i", r, work) / r_sum - np.log(r_sum) + s_log_sum
        found.append(
            Agreement(
                kl=np.maximum(kl, 0.0),  # rounding leaves -1e-16 where they agree; NaN stays NaN
                same_top=r_top == s_top,
                reference_nll=np.log(r_sum) - r_next,
                subject_nll=s_log_sum - s_next,
            )
        )
    return found
