"""How small the residual stream is kept, so that fp16 holds it.

Gemma's residual stream outgrows fp16's 65504: about 1.0e5 in the 270M (measured). The decoder can keep
it at any factor of its size without changing a result (`exporter.models.text.decoder`); what is chosen
here is the factor. Not about norms, which are safe at any size (`dialect`).
"""

from __future__ import annotations

from exporter.models.text.spec import ModelSpec

LARGEST_FP16 = 65504.0
HEADROOM = 2.0  # another text may reach higher than the ones the peaks were measured on

# Largest magnitude seen in the residual stream, by (model_type, hidden_size). The 270M was measured;
# 1B and 4B are 65504 over the factors others published for them (0.82 and 0.1875).
KNOWN_PEAKS = {
    ("gemma3_text", 640): 1.04e5,
    ("gemma3_text", 1152): 8.0e4,
    ("gemma3_text", 2560): 3.5e5,
}

# The rule for every other size. 1/16 holds 1.05e6; the largest peak reported of a Gemma is 8e5 (Gemma 3
# 27B). Small costs nothing: layers of the width of Gemma 2 2B, 3 1B and 4 E2B err by the same in fp16 at
# any factor from 1 to 2^-8. But lower, a norm's √eps (1e-3) leaves fp16's normal numbers (6.1e-5 and up),
# and hardware that takes those for 0 would divide a row of zeros by it.
SMALLEST = 2.0**-4


def residual_scale(spec: ModelSpec) -> float:
    """The factor: a power of two, which costs no rounding, at most 1 and at least `SMALLEST`.

    The largest that keeps HEADROOM above the model's known peak; SMALLEST where none is known.
    """
    peak = KNOWN_PEAKS.get((spec.model_type, spec.hidden_size))
    if peak is None:
        return SMALLEST
    scale = 1.0
    while scale > SMALLEST and peak * scale * HEADROOM > LARGEST_FP16:
        scale /= 2
    return scale
