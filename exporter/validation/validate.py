"""`validate_release`: run every artifact of a release and hold it against transformers.

    (1) a sealed release's files against its manifest
    (2) the evaluation text, as long as the artifacts' context allows
    (3) the references' logits and their answers about facts from far back, and the price of quantisation
        between them, as a whole, for each language and for each matrix
    (4) every artifact: weights, twin, execution paths, itself
    (5) images and sounds, where the release takes any                          tower_check
    (6) whether half precision holds what the graphs compute
    (7) the references' opinion of the greedy tokens
Everything big lies in a scratch directory that is deleted in any case. Memory holds one model's
session, or one matrix of the reference, at a time. Not about how the result looks.
"""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from exporter.evaluation.kl_spread import spread_of
from exporter.formats.table import family_of
from exporter.job import Job
from exporter.models.components import unused_tower
from exporter.packaging.release import participating_versions, verify_release
from exporter.planning.estimates import cache_size
from exporter.planning.plan import Plan
from exporter.progress import about
from exporter.quantization.store.unpacked_weights import UnpackedWeights
from exporter.reference.logits_file import LogitsFile
from exporter.reference.texts import TokenisedText
from exporter.reference.weights import OriginalWeights
from exporter.validation.artifact_check import check_artifact
from exporter.validation.baselines import ORIGINAL, QUANTISED, Baselines, compare_files
from exporter.validation.check_context import ArtifactCheck
from exporter.validation.copying import Copying, judge_quantisation
from exporter.validation.degenerate import judge_reference
from exporter.validation.domain_check import check_domains
from exporter.validation.execution_check import Executed
from exporter.validation.findings import Findings, ReleaseUnderTest
from exporter.validation.gates import SETTLED_ON, count_gate, quality_gates
from exporter.validation.greedy import agreed_tokens
from exporter.validation.left_open import left_open
from exporter.validation.modality import MODALITIES
from exporter.validation.range_check import range_gates
from exporter.validation.report import (
    REPORT_SCHEMA_VERSION,
    ArtifactRun,
    Comparison,
    Gate,
    GreedyRun,
    ValidationReport,
)
from exporter.validation.tower_check import check_towers
from exporter.validation.weight_errors import weight_errors
from exporter.validation.weight_origins import weight_origins


def validate_release(job: Job, release: ReleaseUnderTest, baselines: Baselines) -> ValidationReport:
    """Everything that can be found out about the release here.

    Raises an ExportError where the check itself cannot be made (no room for logits, a reference that
    cannot be built); an artifact that fails is a verdict, not an error.
    """
    findings = Findings()
    with tempfile.TemporaryDirectory(prefix="validation-", dir=job.work) as scratch:
        # (1)
        if release.sealed:
            _check_files(job, release, findings)
        # (2)
        text = job.evaluation(min(artifact.context for artifact in release.artifacts))
        _remark_on_length(job, text, findings)
        # (3)
        logits = {ORIGINAL: baselines.original(), QUANTISED: baselines.quantised(release.checkpoint)}
        words = {
            ORIGINAL: OriginalWeights(job.source).description,
            QUANTISED: UnpackedWeights(release.checkpoint).description,
        }
        for name in (ORIGINAL, QUANTISED):
            judge_reference(findings, words[name], logits[name])
        special = baselines.special(release.checkpoint)
        copying = _copying(job, release, baselines, findings)
        _judge_quantisation(job, release, logits, words, text, findings)
        # (4)
        executed = [
            each
            for artifact in release.artifacts
            for each in check_artifact(
                ArtifactCheck(
                    job, release, artifact, logits, words, text, copying, special, Path(scratch), findings
                )
            )
        ]
        # (5)
        for modality in MODALITIES:
            check_towers(modality, job, release, Path(scratch), findings)
        # (6)
        findings.activations += baselines.peaks(release.checkpoint)
        findings.gates += _range_gates(job, release, findings)
        # (7)
        with job.stopwatch.step("greedy tokens judged"):
            findings.runs += _runs(job, release.plan, executed)
    return _report(job, release, text, findings)


def _judge_quantisation(
    job: Job,
    release: ReleaseUnderTest,
    logits: Mapping[str, LogitsFile],
    words: Mapping[str, str],
    text: TokenisedText,
    findings: Findings,
) -> None:
    """What quantising costs, on the evaluation text and by domain, and how far each matrix came out."""
    agreement = compare_files(logits[ORIGINAL], logits[QUANTISED], text.tokens, job.progress)
    statistics, recipe = agreement.statistics(), release.plan.variant.recipe
    findings.comparisons.append(
        Comparison(
            "quantisation",
            None,
            words[QUANTISED],
            words[ORIGINAL],
            "whole sequence",
            statistics,
            spread_of(agreement.kl, along=True),
        )
    )
    findings.gates += quality_gates(
        "quantisation", None, f"recipe {recipe.name}", statistics, recipe.quantisation
    )
    check_domains(job, release, findings)
    with job.stopwatch.step("weights compared"):
        source = job.source if release.equalised is None else release.equalised
        findings.weight_errors += weight_errors(source, release.checkpoint, job.progress)


def _copying(
    job: Job, release: ReleaseUnderTest, baselines: Baselines, findings: Findings
) -> Copying | None:
    """What to ask for from far back, what quantising costs of it, and what is not asked for."""
    context = min(artifact.context for artifact in release.artifacts)
    held = job.copying(context)
    if beyond := [each for each in job.distances if held is None or each not in held.distances]:
        findings.not_checked.append(
            f"Facts {_listed(sorted(beyond))} tokens back were not asked for: {_too_short(job, context)}."
        )
    if held is None:
        return None
    copying = baselines.copying(release.checkpoint, len(held.tokens))
    if copying is not None:
        recipe = release.plan.variant.recipe
        judge_quantisation(findings, recipe.name, copying, recipe.quantisation)
    return copying


def _too_short(job: Job, context: int) -> str:
    """What keeps a text from reaching further back: the lesser of the two limits there are."""
    limit = job.token_limit
    if limit is None or limit >= context:
        return f"the context of {context:,} tokens does not reach so far"
    return f"--validation-tokens {limit} does not reach so far"


def _listed(numbers: Sequence[int]) -> str:
    """200, 500 and 1,000."""
    *others, last = (f"{each:,}" for each in numbers)
    return f"{', '.join(others)} and {last}" if others else last


def _report(
    job: Job, release: ReleaseUnderTest, text: TokenisedText, findings: Findings
) -> ValidationReport:
    plan = release.plan
    return ValidationReport(
        schema_version=REPORT_SCHEMA_VERSION,
        model=job.source.name,
        recipe=plan.variant.recipe.name,
        target=plan.variant.name,
        devices=(),
        left_out=job.source.left_out,
        remarks=(
            *job.remarks,
            *plan.remarks,
            *unused_tower(job.source.components, release.encoders),
            *findings.remarks,
        ),
        weights=weight_origins(release.checkpoint, plan.refusals),
        weight_errors=tuple(findings.weight_errors),
        text=text.held,
        text_tokens=len(text.tokens),
        text_sha256=text.sha256,
        machine=_machine(),
        versions=participating_versions(artifact.format for artifact in release.artifacts),
        comparisons=tuple(findings.comparisons),
        domains=tuple(findings.domains),
        gates=tuple(findings.gates),
        runs=tuple(findings.runs),
        copying=tuple(findings.copying),
        paths=tuple(findings.paths),
        activations=tuple(findings.activations),
        images=findings.towers.get("images"),
        sounds=findings.towers.get("sounds"),
        not_checked=(*findings.not_checked, *left_open(findings.gates, findings.paths)),
        timings=job.stopwatch.timings(),
    )


def _check_files(job: Job, release: ReleaseUnderTest, findings: Findings) -> None:
    problems = verify_release(release.directory, job.progress)
    findings.not_checked += [f"{problem}." for problem in problems]
    findings.gates.append(
        count_gate("files", None, "release", "files unlike the manifest", len(problems), "files")
    )


def _range_gates(job: Job, release: ReleaseUnderTest, findings: Findings) -> list[Gate]:
    """Of artifacts that may be run in fp16, where no driver of this process does that."""
    found: list[Gate] = []
    for artifact in release.artifacts:
        stream = family_of(artifact.format).stream
        executed = {driver.arithmetic for driver in release.drivers(artifact.format)}
        if stream is not None and "fp16" not in executed:
            spec = job.source.components[artifact.component].spec
            found += range_gates(artifact.path, spec, stream, findings.activations)
    return found


def _remark_on_length(job: Job, text: TokenisedText, findings: Findings) -> None:
    compared = len(text.tokens)
    if compared - 1 < min(SETTLED_ON, text.available - 1):
        findings.not_checked.append(
            f"Only the first {compared:,} of the evaluation text's {text.available:,} tokens were "
            "compared: what goes wrong later than that was not seen, and the recipe's limits are wider by "
            "how far figures of so few tokens stray."
        )
    layers = job.source.components["text"].spec.layers
    windows = [layer.window for layer in layers if layer.window is not None]
    if windows and compared - 1 <= max(windows):
        findings.not_checked.append(
            f"The {compared} tokens compared do not reach past the sliding window of {max(windows)}."
        )


def _runs(job: Job, plan: Plan, executed: Sequence[Executed]) -> list[ArtifactRun]:
    """The executions with the reference's opinion of their greedy tokens."""
    continuations = [continuation for each in executed for continuation in each.continuations]
    told = about(job.progress, "greedy tokens")
    agreed = iter(agreed_tokens(OriginalWeights(job.source), continuations, told))
    found = []
    for each in executed:
        greedy = []
        for continuation in each.continuations:
            new = continuation.tokens[continuation.prompt_tokens :].tolist()
            text = job.texts.tokenizer.decode(new, skip_special_tokens=False)
            greedy.append(GreedyRun(continuation.prompt, text, len(new), next(agreed)))
        artifact = each.artifact
        found.append(
            ArtifactRun(
                artifact=artifact.path,
                format=artifact.format,
                runtime=each.facts.runtime,
                version=each.facts.version,
                arithmetic=each.facts.arithmetic,
                context=each.facts.context,
                bytes=each.bytes,
                cache=cache_size(
                    job.source.components["text"].spec,
                    artifact.context,
                    plan.longest_call(artifact.format, artifact.prefill_chunk),
                    family_of(artifact.format),
                ),
                prefill_tokens_per_second=each.pace.per_second("prefill"),
                decode_tokens_per_second=each.pace.per_second("decode"),
                peak_resident_bytes=each.peak_growth,
                non_finite_operations=each.non_finite_operations,
                greedy=tuple(greedy),
            )
        )
    return found


def _machine() -> dict[str, str]:
    return {
        "system": f"{platform.system()} {platform.release()}",
        "processor": platform.machine(),
        "cores": str(os.cpu_count()),
    }
