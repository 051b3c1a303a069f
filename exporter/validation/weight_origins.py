"""`WeightOrigin`: how many matrices came to be what the artifacts hold, and in which way.

Counted from the quantised checkpoint's record. Not about whether artifacts hold it (`stored_weights`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from exporter.quantization.store.checkpoint import QuantizedCheckpoint
from exporter.quantization.store.origins import How


@dataclass(frozen=True)
class WeightOrigin:
    """Matrices alike. dtype: what the source stored them as, in its own words. scheme: what they are now.

    refusal: why codes the source holds of them were not kept, None where it holds none or they were.
    """

    how: How
    dtype: str
    scheme: str
    matrices: int
    refusal: str | None


def weight_origins(
    checkpoint: QuantizedCheckpoint, refusals: Mapping[str, str]
) -> tuple[WeightOrigin, ...]:
    """The matrices of a checkpoint by kind, in order of first use. refusals: the plan's, by matrix."""
    counted = Counter(
        (origin.how, origin.dtype, checkpoint.matrices[name].scheme.name, refusals.get(name))
        for name in checkpoint.matrices
        for origin in (checkpoint.origins[name],)
    )
    return tuple(
        WeightOrigin(how, dtype, scheme, count, refusal)
        for (how, dtype, scheme, refusal), count in counted.items()
    )
