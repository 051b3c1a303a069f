"""Four made-up reports that between them have everything a report can have.

Figures are invented. Texts are hostile on purpose: markup, quotes, control characters, right-to-left.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from exporter.evaluation.kl_spread import spread_of
from exporter.reference.peak import Peak
from exporter.stopwatch import Timing
from exporter.validation.left_open import left_open
from exporter.validation.range_check import ROOM, TIMES
from exporter.validation.report import (
    REPORT_SCHEMA_VERSION,
    CopyRun,
    Gate,
    GreedyRun,
    PathFailure,
    ValidationReport,
)
from exporter.validation.verdict import Skipped, at_least, at_most
from exporter.validation.weight_errors import WeightError
from exporter.validation.weight_origins import WeightOrigin
from tests.golden.parts import (
    COREML,
    HOSTILE,
    IPHONE,
    LITERT,
    MEGABYTE,
    ONNX,
    PIXEL,
    WEIGHT_ERRORS,
    comparison,
    domains,
    gpu_path,
    on_llvmpipe,
    run,
    statistics,
)
from tests.golden.samples import DECODER, image_gates, image_input, sound_gates, sound_input


def passing() -> ValidationReport:
    """Three artifacts, every gate holds, nothing hostile."""
    end = (
        (LITERT, 0.0171, 0.9312, 0.03, 0.92),
        (ONNX, 0.0042, 0.9702, 0.01, 0.96),
        (COREML, 0.0043, 0.9695, 0.01, 0.96),
    )
    comparisons = [
        comparison("lowering", LITERT, "float twin", 3.1e-10, 1.0),
        comparison("lowering", ONNX, "float twin", 2.4e-9, 1.0),
        comparison("lowering", COREML, "float twin, fp32", 1.1e-6, 1.0),
        comparison("kernels", LITERT, "artifact", 0.0129, 0.941),
        comparison("quantisation", None, "transformers, int8", 0.0041, 0.9708),
        comparison("path", LITERT, "LiteRT on the GPU, fp32", 1.1e-12, 1.0),
    ]
    gates = [
        Gate("files", None, "release", "files unlike the manifest", at_most(0.0, 0.0, "files")),
        Gate("execution", LITERT, "artifact", "not finite", at_most(0.0, 0.0, "logits")),
        Gate("weights", ONNX, "codes and scales", "differing values", at_most(0.0, 0.0, "numbers")),
        Gate("lowering", LITERT, "float twin", "mean KL", at_most(3.1e-10, 1e-6, "nats")),
        Gate("lowering", ONNX, "float twin", "mean KL", at_most(2.4e-9, 1e-6, "nats")),
        Gate("lowering", COREML, "float twin, fp32", "mean KL", at_most(1.1e-6, 1e-5, "nats")),
        Gate("quantisation", None, "transformers, int8", "mean KL", at_most(0.0041, 0.01, "nats")),
        Gate("copying", None, "recipe int8", "answer tokens kept", at_least(1.0, 0.96, "share")),
        Gate("copying", LITERT, "artifact", "answer tokens lost", at_most(0.0, 0.0, "tokens")),
        Gate("path", LITERT, "LiteRT on the GPU, fp32", "mean KL", at_most(1.1e-12, 1e-6, "nats")),
        Gate("range", LITERT, "residual stream at 0.125 of its size", ROOM, at_least(5.04, 4.0, TIMES)),
    ]
    for artifact, kl, top1, kl_limit, top1_limit in end:
        comparisons.append(comparison("end to end", artifact, "artifact", kl, top1))
        gates.append(Gate("end to end", artifact, "artifact", "mean KL", at_most(kl, kl_limit, "nats")))
        gates.append(Gate("end to end", artifact, "artifact", "top-1", at_least(top1, top1_limit, "share")))
    by_domain, domain_gates = domains(1)
    gates += domain_gates
    text = " Paris. It is the largest city of the country and has been its capital since the Middle Ages."
    paths = (
        gpu_path("fp32", on_llvmpipe(())),
        gpu_path("fp16", Skipped("the adapter SwiftShader has no fp16")),
    )
    return ValidationReport(
        schema_version=REPORT_SCHEMA_VERSION,
        model="gemma-3-270m",
        recipe="int8",
        target="all",
        devices=(PIXEL, IPHONE),
        left_out=(),
        remarks=(),
        weights=(WeightOrigin("quantised", "BF16", "int8-channel", 183, None),),
        weight_errors=WEIGHT_ERRORS,
        text="1-english, 2-japanese, the beginning of 3-code",
        text_tokens=1536,
        text_sha256="3f" * 32,
        machine={"system": "Linux 6.1 x86_64", "processor": "2 cores, AVX2"},
        versions={"gemma-export": "0.1.0", "transformers": "5.23.0", "torch": "2.13.0"},
        comparisons=tuple(comparisons),
        domains=by_domain,
        gates=tuple(gates),
        runs=(
            run(LITERT, "litertlm", "LiteRT", "2.3.0", "fp32, activations of linears in int8", text),
            run(ONNX, "onnx", "ONNX Runtime", "1.32.0", "fp32", text),
            run(COREML, "coreml", "MIL evaluator", "0.1.0", "fp16, rounded per operation", text),
        ),
        copying=(
            CopyRun(None, "recipe int8", 200, 9, 9, 9, 9, 0),
            CopyRun(None, "recipe int8", 1900, 12, 11, 12, 11, 0),
            CopyRun(LITERT, "artifact", 200, 9, 9, 9, 9, 0),
            CopyRun(LITERT, "artifact", 1900, 12, 11, 11, 11, 0),
        ),
        paths=paths,
        activations=(Peak("input_layernorm", "in", 5, 1.04e5), Peak("norm", "in", None, 6.6e4)),
        images=None,
        sounds=None,
        not_checked=(
            "Core ML itself: no Mac took part; the package ran under MIL semantics in our evaluator.",
            *left_open(gates, paths),
        ),
        timings=(
            Timing("open and plan", 1.5),
            Timing("validate", 60.25),
            Timing("validate / model.litertlm", 40.0),
            Timing("validate / model.litertlm / float twin", 12.5),
            Timing("validate / model.litertlm / the artifact", 27.5),
        ),
    )


def failing() -> ValidationReport:
    """Failures, one of them not a number, a skip, and hostile text wherever text can be."""
    report = passing()
    by_domain, domain_gates = domains(4)
    gates = (
        *report.gates[:7],
        *domain_gates,
        Gate("copying", LITERT, f"artifact {HOSTILE}", "answer tokens lost", at_most(3.0, 0.0, "tokens")),
        Gate("end to end", ONNX, "artifact", "mean KL", at_most(3.47, 0.01, "nats")),
        Gate("end to end", ONNX, "artifact", "top-1", at_least(0.31, 0.96, "share")),
        Gate("end to end", LITERT, "artifact", "mean KL", at_most(math.nan, 0.03, "nats")),
        Gate("path", LITERT, "LiteRT on the GPU, fp32", "failures to run", at_most(1.0, 0.0, "failures")),
        Gate("path", LITERT, "LiteRT on the GPU, fp16", "mean KL", at_most(math.nan, 2e-3, "nats")),
        Gate("end to end", COREML, "artifact <b>", "mean KL", Skipped(f"no runtime: {HOSTILE}")),
    )
    broken = replace(statistics(3.47, 0.31), mean_kl=math.nan, max_kl=math.inf, perplexity_ratio=math.nan)
    nowhere = spread_of(np.full(1535, math.nan), along=True)
    comparisons = (
        *report.comparisons[:5],
        comparison("end to end", ONNX, "artifact", 3.47, 0.31),
        replace(comparison("end to end", LITERT, "artifact", 1.0, 0.5), statistics=broken, kl=nowhere),
    )
    greedy = (
        GreedyRun("The capital of France is", HOSTILE, 64, 3),
        GreedyRun("پایتخت ایران", " تهران است.", 64, 64),
    )
    unmeasured = replace(
        report.runs[1],
        cache=None,
        prefill_tokens_per_second=None,
        decode_tokens_per_second=None,
        peak_resident_bytes=None,
        non_finite_operations=111,
        greedy=greedy,
    )
    return replace(
        report,
        model='gemma <3> & "co"',
        devices=(
            replace(PIXEL, fit="does not fit", budget_bytes=300 * MEGABYTE, reason=HOSTILE, title=HOSTILE),
            replace(PIXEL, profile="toy", title="Toy $\\frac$", artifacts=(), recipe=HOSTILE),
        ),
        comparisons=comparisons,
        domains=by_domain,
        weight_errors=(WeightError(None, HOSTILE, HOSTILE, math.nan), *WEIGHT_ERRORS),
        gates=gates,
        runs=(unmeasured,),
        paths=(
            gpu_path("fp32", PathFailure(f"ended by SIGSEGV; it printed last: {HOSTILE}")),
            gpu_path("fp16", on_llvmpipe(("EMBEDDING_LOOKUP", HOSTILE))),
        ),
        copying=(CopyRun(LITERT, f"artifact {HOSTILE}", 200, 9, 9, 5, 8, 3),),
        left_out=("vision tower, 417 M parameters", HOSTILE),
        remarks=(f"config.json leaves out {HOSTILE}.",),
        images=image_input(HOSTILE, (HOSTILE,)),
        weights=(
            WeightOrigin("taken over", "Q4_0", "int4-g32", 181, None),
            WeightOrigin("requantised", "Q8_0", "int8-channel", 1, "litert cannot carry int8-g32"),
            WeightOrigin("dequantised", HOSTILE, "fp16", 1, None),
        ),
        not_checked=(HOSTILE, *left_open(gates, ())),
    )


def inconclusive() -> ValidationReport:
    """Nothing failed, one gate could not be checked, and nothing else was left open."""
    report = passing()
    skipped = Gate("kernels", COREML, "artifact", "mean KL", Skipped("Core ML needs macOS"))
    gates = (report.gates[2], skipped)
    return replace(
        report,
        devices=(),
        gates=gates,
        comparisons=(),
        domains=(),
        weights=(),
        weight_errors=(),
        runs=(),
        copying=(),
        paths=(),
        not_checked=left_open(gates, ()),
    )


def seeing() -> ValidationReport:
    """The one that passes, of a release that takes images and sounds."""
    report = passing()
    return replace(
        report,
        comparisons=(
            *report.comparisons,
            comparison("images", DECODER, "ONNX Runtime", 0.0021, 0.98),
            comparison("sounds", DECODER, "ONNX Runtime", 0.0013, 0.99),
            comparison("images", LITERT, "LiteRT on the GPU, fp32", 1.6e-11, 1.0),
        ),
        gates=(*report.gates, *image_gates(), *sound_gates()),
        images=image_input("The picture shows four squares.", (LITERT, COREML)),
        sounds=sound_input("A pitch rises.", (LITERT, COREML)),
    )


REPORTS = {"passing": passing, "failing": failing, "inconclusive": inconclusive, "seeing": seeing}
