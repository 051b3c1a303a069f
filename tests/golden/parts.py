"""What the made-up reports are made of: figures, devices, runs, and a hostile text.

Figures are invented. Not about which report has what (`tests.golden.reports`).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from exporter.evaluation.kl_spread import KlSpread, spread_of
from exporter.evaluation.statistics import Statistics
from exporter.planning.device_verdict import ArtifactOnDevice, DecodeSpeed, DeviceVerdict
from exporter.planning.estimates import CacheSize
from exporter.planning.prediction_error import PRESUMED, PredictionError
from exporter.validation.report import (
    ArtifactRun,
    Comparison,
    DomainAgreement,
    Gate,
    GreedyRun,
    Kind,
    PathExecution,
    PathFailure,
    PathRun,
)
from exporter.validation.verdict import Skipped, at_most
from exporter.validation.weight_errors import WeightError
from runtimes.formats import Format

LITERT, ONNX, COREML = "model.litertlm", "onnx/model.onnx", "coreml/model.mlpackage"
ROUTE = "prefill in chunks of 128, then 128 decode steps"
HOSTILE = '<script>alert(1)</script> & "Paris" | `x` *bold* [red]\x1b[31m\n</blockquote>\'--\n``` fence'


def statistics(mean_kl: float, top1: float) -> Statistics:
    """A plausible spread around a mean."""
    return Statistics(
        positions=1535,
        mean_kl=mean_kl,
        median_kl=mean_kl * 0.45,
        kl_90=mean_kl * 2.1,
        kl_99=mean_kl * 8.0,
        kl_999=mean_kl * 24.0,
        max_kl=mean_kl * 60.0,
        top1=top1,
        reference_perplexity=16.18,
        perplexity_ratio=1 + mean_kl,
        perplexity_ratio_error=mean_kl / 9,
        delta_p_rms=min(1.0, mean_kl**0.5 / 4),
    )


def comparison(kind: Kind, artifact: str | None, subject: str, mean_kl: float, top1: float) -> Comparison:
    quantised = kind in ("lowering", "kernels")
    reference = f"transformers on the {'quantised' if quantised else 'original'} checkpoint"
    found = statistics(mean_kl, top1)
    return Comparison(kind, artifact, subject, reference, ROUTE, found, spread(found))


def spread(found: Statistics) -> KlSpread:
    """Of as many positions, from the median to the largest, in turns along the text."""
    kl = np.geomspace(found.median_kl / 50, found.max_kl, found.positions)
    spread = spread_of(kl.reshape(5, -1).T.ravel(), along=True)
    # Processors add up in different orders, which is seen in the seventeenth digit.
    return replace(spread, means=tuple(float(f"{mean:.9g}") for mean in spread.means))


# Hindi is beyond what int8 may cost, in the report that fails.
DOMAINS = {"chat": 0.0031, "code": 0.0012, "english": 0.0009, "hindi": 0.0142, "japanese": 0.0067}


def domains(times: float) -> tuple[tuple[DomainAgreement, ...], tuple[Gate, ...]]:
    """Figures and gates of each domain, that many times as far from the original."""
    found, gates = [], []
    for name, kl in DOMAINS.items():
        kind = name if name in ("chat", "code") else "language"
        figures = replace(statistics(kl * times, 1 - 8 * kl), positions=127)
        found.append(DomainAgreement(name, kind, figures))  # type: ignore[arg-type]  # one of three words
        gates.append(Gate("domain", None, name, "mean KL", at_most(kl * times, 0.02, "nats")))
    return tuple(found), tuple(gates)


PARTS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
WEIGHT_ERRORS = (
    WeightError(None, "embed_tokens", "int8-channel", 0.0061),
    *(
        WeightError(layer, part, "int8-channel", 0.006 + 0.0005 * at + 0.0001 * (layer * 7 % 5))
        for layer in range(6)
        for at, part in enumerate(PARTS)
    ),
)

MEGABYTE = 1_000_000


def on_device(format: Format, weights: int, decode: DecodeSpeed | None) -> ArtifactOnDevice:
    """weights: MB."""
    memory = {"weights": weights, "packed copies": 0, "KV cache": 75, "activations": 40, "logits": 4}
    return ArtifactOnDevice(
        format=format,
        accelerator="GPU" if format == "litertlm" else "CPU",
        instead_of_gpu=None,
        artifact_bytes=278 * MEGABYTE,
        cache_bytes=75 * MEGABYTE,
        memory={name: each * MEGABYTE for name, each in memory.items()},
        memory_error=PRESUMED if format == "litertlm" else PredictionError(0.05, measured=True),
        decode=decode,
    )


PIXEL = DeviceVerdict(
    profile="pixel-8",
    title="Pixel 8 (Tensor G3)",
    fit="fits",
    below_fidelity=None,
    recipe="int8",
    context=2048,
    metric="ru_maxrss",
    budget_bytes=4_294_967_296,
    budget_with_entitlement_bytes=None,
    sourced=False,
    artifacts=(
        on_device("litertlm", 556, DecodeSpeed(38.0, 71.0, 183.0, sourced=False)),
        on_device("onnx", 278, DecodeSpeed(31.0, 60.0, 183.0, sourced=False)),
    ),
    reason="int8 is the first of int8, int4 whose peak stays below what an app may use.",
)
IPHONE = replace(
    PIXEL,
    profile="iphone-15-pro",
    title="iPhone 15 Pro",
    fit="fits with entitlement",
    metric="phys_footprint",
    budget_bytes=300 * MEGABYTE,
    budget_with_entitlement_bytes=6_000 * MEGABYTE,
    sourced=True,
    artifacts=(on_device("coreml", 278, None),),
    reason="397 MB are more than an app may use without the increased-memory-limit entitlement.",
)


# Gemma 3 270M at 2,048 positions: every layer with room for all of them in fp32, or fp16 and windows.
WHOLE_CONTEXT, WINDOWS = CacheSize(75_497_472, 47_185_920), CacheSize(14_155_776, 0)


def run(
    artifact: str, format: Format, runtime: str, version: str, arithmetic: str, text: str
) -> ArtifactRun:
    return ArtifactRun(
        artifact=artifact,
        format=format,
        runtime=runtime,
        version=version,
        arithmetic=arithmetic,
        context=2048,
        bytes=278_123_456,
        cache=WINDOWS if format == "coreml" else WHOLE_CONTEXT,
        prefill_tokens_per_second=467.2,
        decode_tokens_per_second=65.6,
        peak_resident_bytes=1_050_000_000,
        non_finite_operations=0,
        greedy=(GreedyRun("The capital of France is", text, 64, 64),),
    )


NO_PHONE = "no phone's GPU took part"


def gpu_path(arithmetic: str, result: PathExecution | PathFailure | Skipped) -> PathRun:
    title = f"LiteRT on the GPU, {arithmetic}"
    return PathRun(LITERT, f"litert-gpu-{arithmetic}", title, NO_PHONE, result)


def on_llvmpipe(left_over: tuple[str, ...]) -> PathExecution:
    return PathExecution(
        runtime="LiteRT",
        version="2.3.0",
        device="llvmpipe (LLVM 15.0.6, 256 bits), a CPU in place of a GPU",
        arithmetic="fp32",
        left_over=left_over,
        positions=64,
        seconds=81.5,
        remarks=(),
    )
