"""Gates: measured figures against limits, as verdicts. The limits are data.

Limits on the toolchain's own errors stand with each runtime (`exporter.formats`), because no recipe may
move them; limits on what a recipe costs come from the recipe (`exporter.planning.recipe`). Kernels are
reported, not gated: how far int8 activations may stray from a float twin depends on the model, and the
end-to-end limit already contains it. Not about measuring.
"""

from __future__ import annotations

from exporter.evaluation.statistics import Statistics
from exporter.planning.recipe import QualityLimit
from exporter.validation.report import Gate, Kind
from exporter.validation.verdict import Skipped, at_least, at_most

MEAN_KL, TOP_1 = "mean KL", "top-1"
NATS, SHARE = "nats", "share"


def quality_gates(
    kind: Kind, artifact: str | None, subject: str, statistics: Statistics, limit: QualityLimit
) -> tuple[Gate, ...]:
    """Mean KL at most and top-1 at least what the recipe says."""
    return (
        Gate(kind, artifact, subject, MEAN_KL, at_most(statistics.mean_kl, limit.mean_kl, NATS)),
        Gate(kind, artifact, subject, TOP_1, at_least(statistics.top1, limit.top1, SHARE)),
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
