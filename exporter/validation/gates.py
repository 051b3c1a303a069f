"""Gates: measured figures against limits, as verdicts. The limits are data.

Limits on the toolchain's own errors stand here, because no recipe may move them; limits on what a
recipe costs come from the recipe (`exporter.planning.recipe`). Kernels are reported, not gated: how
far int8 activations may stray from a float twin depends on the model, and the end-to-end limit
already contains it. Not about measuring.
"""

from __future__ import annotations

from collections.abc import Mapping

from exporter.planning.recipe import QualityLimit
from exporter.validation.drivers import Arithmetic
from exporter.validation.report import Gate, Kind, Statistics
from exporter.validation.verdict import Skipped, at_least, at_most

MEAN_KL, TOP_1 = "mean KL", "top-1"
NATS, SHARE = "nats", "share"

LOWERING_MEAN_KL: Mapping[tuple[str, Arithmetic], float] = {
    ("litert", "fp32"): 1e-6,
    ("onnx", "fp32"): 1e-6,
    ("coreml", "fp32"): 1e-5,
    ("coreml", "fp16"): 1e-3,
}
"""Float twin against transformers on the quantised checkpoint, nats. Gemma 3 270M measures 1e-11
to 4e-11 where all is fp32; a release made from another checkpoint of the same model measured 1e-2. Core
ML's RoPE tables are fp16 in either arithmetic, which is nearly all of what its fp32 measures: 1e-6 on the
270M, up to 8e-6 on tiny random models whose attention is far sharper than any trained one's."""

HAND_OVER_MEAN_KL: Mapping[tuple[str, Arithmetic], float] = {
    ("litert", "fp32"): 1e-2,
    ("onnx", "fp32"): 1e-2,
    ("coreml", "fp32"): 1e-5,
    ("coreml", "fp16"): 1e-3,
}
"""An artifact against itself, fed in turns and fed in one manner, nats. Where a runtime rounds inputs to
int8, a last bit of fp32 decides how, and prefill's kernels sum in another order than decode's: on
Gemma 3 270M LiteRT differs by 0, ONNX Runtime by 8e-8 (int8) and 3e-3 (int4)."""


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
