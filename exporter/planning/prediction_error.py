"""`prediction_error`: how much more memory an artifact may take than was predicted of it.

What was measured of a runtime says it (`exporter.planning.measured_memory`); of what nobody measured a
default is presumed. A verdict counts it, so that "fits" is more than a prediction. Not about predicting.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from exporter.formats.held_memory import Metric
from exporter.planning.measured_memory import (
    MOST_OFF,
    MeasuredMemory,
    measured_memory,
    rows_of,
)
from runtimes.formats import Accelerator, Format


@dataclass(frozen=True)
class PredictionError:
    """share: 0.05 where a peak may be a twentieth above its prediction. measured: whether peaks of the
    runtime were, so that this is the worst of them; otherwise it is presumed."""

    share: float
    measured: bool

    @property
    def in_words(self) -> str:
        """A clause that stands behind "with"."""
        if self.measured:
            return f"the {100 * self.share:.1f} % that a peak was above its prediction at most"
        return f"{100 * self.share:.0f} % kept free, as no such peak was measured"


# What is predicted of a runtime that was measured is held to this, so others are no nearer than that.
PRESUMED = PredictionError(MOST_OFF, measured=False)


@cache
def prediction_error(format: Format, accelerator: Accelerator, metric: Metric) -> PredictionError:
    """Of text models, without a tower."""
    return worst_of(rows_of(measured_memory(), format, accelerator, metric), metric)


def worst_of(rows: Sequence[MeasuredMemory], metric: Metric) -> PredictionError:
    """The largest share by which what `metric` counts was above its prediction, in tenths of a per cent,
    rounded up; nothing where every peak was below it."""
    if not rows:
        return PRESUMED
    above = max(1 / (1 + each.off_by(metric)) - 1 for each in rows)
    return PredictionError(math.ceil(1000 * max(above, 0.0)) / 1000, measured=True)
