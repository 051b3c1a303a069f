"""`validate_release`: run every artifact of a release and hold it against transformers.

    (1) a sealed release's files against its manifest
    (2) the evaluation text, as long as the artifacts' context allows
    (3) the references' logits, and the price of quantisation between them
    (4) every artifact: weights, twin, itself
    (5) the references' opinion of the greedy tokens
Everything big lies in a scratch directory that is deleted in any case. Memory holds one model's
session, or one matrix of the reference, at a time. Not about how the result looks.
"""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer

from exporter.models.text.spec import ModelSpec
from exporter.packaging.release import participating_versions, verify_release
from exporter.planning.estimates import CacheSize, cache_size
from exporter.reference.texts import EvaluationText, load_tokenizer, read_evaluation_text
from exporter.reference.weights import OriginalWeights
from exporter.validation.artifact_check import Executed, check_artifact
from exporter.validation.baselines import ORIGINAL, QUANTISED, References, compare_files, make_references
from exporter.validation.findings import Findings, ValidationRequest
from exporter.validation.gates import MEAN_KL, TOP_1, count_gate, quality_gates, skipped_gate
from exporter.validation.greedy import agreed_tokens
from exporter.validation.report import (
    REPORT_SCHEMA_VERSION,
    ArtifactRun,
    Comparison,
    GreedyRun,
    ValidationReport,
)
from exporter.validation.weight_origins import weight_origins
from runtimes.manifest import Artifact

LONG_ENOUGH = 1024  # tokens a full validation compares


def validate_release(request: ValidationRequest) -> ValidationReport:
    """Everything that can be found out about the release here.

    Raises an ExportError where the check itself cannot be made (no tokenizer, no room for logits, a
    reference that cannot be built); an artifact that fails is a verdict, not an error.
    """
    findings = Findings()
    with tempfile.TemporaryDirectory(prefix="gemma-validation-", dir=request.scratch) as directory:
        scratch = Path(directory)
        # (1)
        if request.sealed:
            _check_files(request, findings)
        # (2)
        tokenizer = load_tokenizer(request.tokenizer)
        text = _text(request, tokenizer, findings)
        # (3)
        references = make_references(request, text.tokens, scratch)
        _price_of_quantisation(request, references, text, findings)
        # (4)
        executed = [
            each
            for artifact in request.artifacts
            for each in check_artifact(request, artifact, references, text, tokenizer, scratch, findings)
        ]
        # (5)
        findings.runs += _runs(request, executed, tokenizer, findings)
    return ValidationReport(
        schema_version=REPORT_SCHEMA_VERSION,
        model=request.model,
        recipe=request.recipe.name,
        target=request.target,
        left_out=() if request.source is None else request.source.left_out,
        weights=() if request.checkpoint is None else weight_origins(request.checkpoint, request.refusals),
        text=text.name,
        text_tokens=len(text.tokens),
        text_sha256=text.sha256,
        machine=_machine(),
        versions=participating_versions(artifact.format for artifact in request.artifacts),
        comparisons=tuple(findings.comparisons),
        gates=tuple(findings.gates),
        runs=tuple(findings.runs),
        not_checked=tuple(findings.not_checked),
    )


def _check_files(request: ValidationRequest, findings: Findings) -> None:
    problems = verify_release(request.release, request.progress)
    findings.not_checked += [f"{problem}." for problem in problems]
    findings.gates.append(
        count_gate("files", None, "release", "files unlike the manifest", len(problems), "files")
    )


def _text(request: ValidationRequest, tokenizer: Tokenizer, findings: Findings) -> EvaluationText:
    """The evaluation text, cut to what the smallest context holds, with remarks where that is little."""
    room = min(artifact.context for artifact in request.artifacts) + 1  # the last token is only predicted
    limit = room if request.token_limit is None else min(room, request.token_limit)
    text = read_evaluation_text(request.evaluation, tokenizer, request.bos_token, limit)
    compared = len(text.tokens) - 1
    if compared < min(LONG_ENOUGH, text.available - 1):
        findings.not_checked.append(
            f"Only {compared} of the evaluation text's {text.available} tokens were compared: what goes "
            "wrong later than that was not seen."
        )
    spec = _spec(request)
    if spec is not None:
        windows = [layer.window for layer in spec.layers if layer.window is not None]
        if windows and compared <= max(windows):
            findings.not_checked.append(
                f"The {compared} tokens compared do not reach past the sliding window of {max(windows)}."
            )
    return text


def _spec(request: ValidationRequest) -> ModelSpec | None:
    """The model's, where a checkpoint is at hand."""
    checkpoint = request.checkpoint or request.source
    return None if checkpoint is None else checkpoint.spec


def _price_of_quantisation(
    request: ValidationRequest, references: References, text: EvaluationText, findings: Findings
) -> None:
    subject, limit = f"recipe {request.recipe.name}", request.recipe.quantisation
    if references.original is None or references.quantised is None:
        missing = "original" if references.original is None else "quantised"
        reason = f"the {missing} checkpoint is not at hand"
        findings.gates += [
            skipped_gate("quantisation", None, subject, statistic, reason) for statistic in (MEAN_KL, TOP_1)
        ]
        return
    agreement = compare_files(references.original, references.quantised, text.tokens, request.progress)
    statistics = agreement.statistics()
    words = references.descriptions
    findings.comparisons.append(
        Comparison("quantisation", None, words[QUANTISED], words[ORIGINAL], "whole sequence", statistics)
    )
    findings.gates += quality_gates("quantisation", None, subject, statistics, limit)


def _runs(
    request: ValidationRequest, executed: Sequence[Executed], tokenizer: Tokenizer, findings: Findings
) -> list[ArtifactRun]:
    """The executions with the reference's opinion of their greedy tokens."""
    continuations = [continuation for each in executed for continuation in each.continuations]
    if request.source is None:
        agreed: list[int] | None = None
        findings.not_checked.append(
            "Greedy tokens were not held against the original checkpoint: it is not at hand."
        )
    else:
        agreed = agreed_tokens(OriginalWeights(request.source), continuations, request.progress)
    spec = _spec(request)
    found = []
    at = 0
    for each in executed:
        greedy = []
        for continuation in each.continuations:
            new = continuation.tokens[continuation.prompt_tokens :].tolist()
            if agreed is not None:
                text = tokenizer.decode(new, skip_special_tokens=False)
                greedy.append(GreedyRun(continuation.prompt, text, len(new), agreed[at]))
            at += 1
        found.append(
            ArtifactRun(
                artifact=each.artifact.path,
                format=each.artifact.format,
                runtime=each.facts.runtime,
                version=each.facts.version,
                arithmetic=each.facts.arithmetic,
                context=each.facts.context,
                bytes=each.bytes,
                cache=None if spec is None else _cache(spec, each.artifact),
                prefill_tokens_per_second=each.pace.per_second("prefill"),
                decode_tokens_per_second=each.pace.per_second("decode"),
                peak_resident_bytes=each.peak_growth,
                non_finite_operations=each.non_finite_operations,
                greedy=tuple(greedy),
            )
        )
    return found


def _cache(spec: ModelSpec, artifact: Artifact) -> CacheSize:
    return cache_size(spec, artifact.context, artifact.prefill_chunk, artifact.format)


def _machine() -> dict[str, str]:
    return {
        "system": f"{platform.system()} {platform.release()}",
        "processor": platform.machine(),
        "cores": str(os.cpu_count()),
    }
