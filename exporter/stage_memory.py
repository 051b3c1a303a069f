"""`planned_stages`: memory of each stage of an export, for the texts in a checkpoint's own tokens.

Not about the estimates (`exporter.planning.memory`).
"""

from __future__ import annotations

from exporter.checkpoints.interface import CheckpointSource
from exporter.planning.memory import StageMemory, export_memory
from exporter.planning.plan import Plan
from exporter.quantization.calibrated_quantize import calibration_size
from exporter.reference.copy_text import copying_text
from exporter.reference.texts import Texts


def planned_stages(
    source: CheckpointSource, plan: Plan, texts: Texts, token_limit: int | None
) -> tuple[StageMemory, ...]:
    """token_limit: evaluation tokens to compare at most, None for all that the context holds."""
    context = plan.variant.context
    room = context if token_limit is None else min(context, token_limit)
    copied = copying_text(texts).within(room)
    compared = max(
        min(len(texts.evaluation.cut(token_limit).tokens), context),
        0 if copied is None else len(copied.tokens),
    )
    spec, calibrated = source.components["text"].spec, calibration_size()
    return export_memory(spec, plan, compared, calibrated)
