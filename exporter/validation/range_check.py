"""Whether half precision holds what a graph computes, told by transformers' values on the evaluation text
and the copy-and-extract text.

A phone's GPU computes in fp16 and no driver here may: paths are not on every machine. What a graph keeps
smaller than the model has it (`exporter.formats.residual`) is held as small here:
    (1) the residual stream, with the room that its scale was chosen for: another text may reach higher
    (2) everything else that norms and linears take in and give, which has to fit at all
    (3) attention scores, which have to fit too: queries are scaled before they meet keys
Not about softmax, which LiteRT's graph bounds by itself (docs/adr/0019), nor measuring
(`exporter.reference.peaks`).
"""

from __future__ import annotations

from collections.abc import Sequence

from exporter.formats.residual import LARGEST_FP16, ScaledStream
from exporter.models.text.spec import ModelSpec
from exporter.reference.peak import SCORES, Peak
from exporter.validation.report import Gate
from exporter.validation.verdict import Skipped, Verdict, at_least

ROOM = "room below the largest number of half precision"
TIMES = "times"
FITS = 1.0


def range_gates(
    artifact: str, spec: ModelSpec, stream: ScaledStream, peaks: Sequence[Peak]
) -> tuple[Gate, ...]:
    """The gates of an artifact whose graph scales the stream so."""
    scale = stream.scale(spec)
    entering = [peak.largest for peak in peaks if _is_stream(spec, peak)]
    scores = [peak.largest for peak in peaks if peak.module == SCORES]
    others = [
        peak.largest * _held_at(spec, scale, peak)
        for peak in peaks
        if not _is_stream(spec, peak) and peak.module != SCORES
    ]
    return (
        # (1)
        Gate(
            "range",
            artifact,
            f"residual stream at {scale:g} of its size",
            ROOM,
            at_least(_room(scale * _largest(entering)), stream.headroom, TIMES),
        ),
        # (2)
        Gate("range", artifact, "norms and linears", ROOM, at_least(_room(_largest(others)), FITS, TIMES)),
        # (3)
        Gate("range", artifact, "attention scores", ROOM, _scores_fit(scores)),
    )


def _scores_fit(scores: Sequence[float]) -> Verdict:
    if not scores:
        return Skipped("transformers computed attention where its scores are not seen")
    return at_least(_room(_largest(scores)), FITS, TIMES)


def _largest(values: Sequence[float]) -> float:
    """NaN where any is."""
    return float("nan") if any(value != value for value in values) else max(values)


def _room(largest: float) -> float:
    return LARGEST_FP16 / largest if largest else LARGEST_FP16


def _is_stream(spec: ModelSpec, peak: Peak) -> bool:
    """Whether the residual stream itself enters there."""
    readers = {"input_layernorm", spec.mlp_norm, "norm", "per_layer_input_gate"}
    return peak.side == "in" and peak.module in readers


def _held_at(spec: ModelSpec, scale: float, peak: Peak) -> float:
    """How small the decoder holds what joins the stream, which it scales on the way."""
    if spec.post_norms:
        joining = {"post_attention_layernorm", "post_feedforward_layernorm", "post_per_layer_input_norm"}
    else:
        joining = {"self_attn.o_proj", "mlp.down_proj"}
    return scale if peak.side == "out" and peak.module in joining else 1.0
