"""Gates: measured figures against limits, as verdicts. The limits are data.

Limits on the toolchain's own errors stand with each runtime (`exporter.formats`), because no recipe may
move them; limits on what a recipe costs come from the recipe (`exporter.planning.recipe`). Kernels are
reported, not gated: how far int8 activations may stray from a float twin depends on the model, and the
end-to-end limit already contains it. Not about measuring.
"""

from __future__ import annotations

import math
from dataclasses import replace

from exporter.evaluation.statistics import Statistics
from exporter.planning.recipe import QualityLimit
from exporter.validation.report import Gate, Kind
from exporter.validation.verdict import Skipped, at_least, at_most

MEAN_KL, TOP_1 = "mean KL", "top-1"
NATS, SHARE = "nats", "share"
# Positions of which a figure is held to a recipe's limits as they stand.
SETTLED_ON = 1_024
# Times the standard error of so few positions, less that of SETTLED_ON, by which a limit is wider: what is
# exactly at one is beyond it on 3 to 5 % of texts of 31 or 63, on half from there on (docs/benchmarks.md).
GRANTED = 2.33
# Standard deviation of a position's divergence beside its mean: 2.1 of `int4` in docs/benchmarks.md.
SPREAD = 2.0


def quality_gates(
    kind: Kind, artifact: str | None, subject: str, statistics: Statistics, limit: QualityLimit
) -> tuple[Gate, ...]:
    """Mean KL at most and top-1 at least what the recipe says of so many positions."""
    limit = limit_of_few(limit, statistics.positions)
    return (
        Gate(kind, artifact, subject, MEAN_KL, at_most(statistics.mean_kl, limit.mean_kl, NATS)),
        Gate(kind, artifact, subject, TOP_1, at_least(statistics.top1, limit.top1, SHARE)),
    )


def limit_of_few(limit: QualityLimit, positions: int) -> QualityLimit:
    """`limit`, wider by how much further figures of so few positions stray than those it was settled on.

    As it is from SETTLED_ON on: of 63 positions two that differ are 3 %, which says nothing of 4 %.
    """
    if not 0 < positions < SETTLED_ON:
        return limit
    further = GRANTED * (positions**-0.5 - SETTLED_ON**-0.5)
    share = math.sqrt(limit.top1 * (1 - limit.top1))
    return replace(
        limit,
        mean_kl=limit.mean_kl * (1 + SPREAD * further),
        top1=max(0.0, limit.top1 - share * further),
    )


def mean_kl_gate(kind: Kind, artifact: str, subject: str, statistics: Statistics, limit: float) -> Gate:
    """Mean KL at most `limit` nats."""
    return Gate(kind, artifact, subject, MEAN_KL, at_most(statistics.mean_kl, limit, NATS))


def count_gate(
    kind: Kind, artifact: str | None, subject: str, statistic: str, count: int, unit: str
) -> Gate:
    """A count of things that must not be there at all."""
    return Gate(kind, artifact, subject, statistic, at_most(float(count), 0.0, unit))


def skipped_gate(kind: Kind, artifact: str | None, subject: str, statistic: str, reason: str) -> Gate:
    """A gate that could not be tried. It never counts as a pass."""
    return Gate(kind, artifact, subject, statistic, Skipped(reason))
