"""What quantising costs each language, code and chat, and a gate on each of them.

A mean over one text hides a language a model is at odds with: Gemma 3 270M lost ten times as much in Hindi
as elsewhere, under every limit. transformers on the quantised checkpoint against transformers on the
original one, over the beginning of each text of `samples/languages`. Not about artifacts, which are held
against the quantised checkpoint on the evaluation text.
"""

from __future__ import annotations

from exporter.evaluation.side_by_side import compare_weights
from exporter.job import Job
from exporter.progress import about
from exporter.quantization.store.unpacked_weights import UnpackedWeights
from exporter.reference.domains import read_domains
from exporter.reference.weights import OriginalWeights
from exporter.resources import data_directory
from exporter.validation.findings import Findings, ReleaseUnderTest
from exporter.validation.gates import MEAN_KL, NATS
from exporter.validation.report import DomainAgreement, Gate
from exporter.validation.verdict import at_most

MOST_TOKENS = 128  # of each domain; benchmarks compare all of them
FEWEST_TOKENS = 32


def check_domains(job: Job, release: ReleaseUnderTest, findings: Findings) -> None:
    """Put down figures and a gate for each domain, where the recipe has a limit for the worst."""
    recipe = release.plan.variant.recipe
    limit = recipe.quantisation.domain_kl
    if limit is None:
        findings.not_checked.append(
            f"Languages were not compared one by one: recipe {recipe.name} has no limit for the worst."
        )
        return
    domains = read_domains(data_directory("samples") / "languages", job.source, job.texts)
    tokens = MOST_TOKENS if job.token_limit is None else min(MOST_TOKENS, job.token_limit // len(domains))
    if tokens < FEWEST_TOKENS:
        findings.not_checked.append(
            f"Languages were not compared one by one: --validation-tokens {job.token_limit} leaves each of "
            f"{len(domains)} fewer than {FEWEST_TOKENS}."
        )
        return
    original, quantised = OriginalWeights(job.source), UnpackedWeights(release.checkpoint)
    with job.stopwatch.step("each language compared"):
        texts = [domain.text.cut(tokens) for domain in domains]
        progress = about(job.progress, "languages and domains")
        (found,) = compare_weights(original, [quantised], texts, progress)
    for domain in domains:
        statistics = found[domain.name].statistics()
        findings.domains.append(DomainAgreement(domain.name, domain.kind, statistics))
        verdict = at_most(statistics.mean_kl, limit, NATS)
        findings.gates.append(Gate("domain", None, domain.name, MEAN_KL, verdict))
