"""`ScaledStream`: how small a runtime's graphs keep the residual stream, so that fp16 holds it.

Gemma's residual stream outgrows fp16's 65504: about 1.0e5 in the 270M (measured). The decoder can keep
it at any factor of its size without changing a result (`exporter.models.text.decoder`); what is chosen
here is the factor. Not about norms, which are safe at any size in the dialects that scale the stream.
"""

from __future__ import annotations

from dataclasses import dataclass

from exporter.models.text.spec import ModelSpec

LARGEST_FP16 = 65504.0

# Largest magnitude seen in the residual stream, by (model_type, hidden_size). The 270M was measured;
# 1B and 4B are 65504 over the factors others published for them (0.82 and 0.1875).
KNOWN_PEAKS = {
    ("gemma3_text", 640): 1.04e5,
    ("gemma3_text", 1152): 8.0e4,
    ("gemma3_text", 2560): 3.5e5,
}


@dataclass(frozen=True)
class ScaledStream:
    """headroom: by how much a known peak stays below what fp16 holds, for another text may reach higher
    than those it was seen in. smallest: factor of all, for models of which no peak is known. Small costs
    nothing by itself: layers of the width of Gemma 2 2B, 3 1B and 4 E2B err by the same in fp16 at any
    factor from 1 to 2^-8.
    """

    headroom: float
    smallest: float

    def scale(self, spec: ModelSpec) -> float:
        """The factor: a power of two, which costs no rounding, at most 1 and at least `smallest`."""
        peak = KNOWN_PEAKS.get((spec.model_type, spec.hidden_size))
        if peak is None:
            return self.smallest
        scale = 1.0
        while scale > self.smallest and peak * scale * self.headroom > LARGEST_FP16:
            scale /= 2
        return scale
