"""`Peak`: the largest magnitude seen at one place of transformers' text model.

Not about seeing it (`peaks`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Side = Literal["in", "out"]
SCORES = "self_attn.scores"  # no module: queries times keys, where transformers computes them


@dataclass(frozen=True)
class Peak:
    """module: its name within a layer, or within the text model where it is none's ("self_attn.q_proj",
    "norm"). side: what enters it, or leaves it. layer: where the magnitude was the largest, None outside of
    layers."""

    module: str
    side: Side
    layer: int | None
    largest: float
