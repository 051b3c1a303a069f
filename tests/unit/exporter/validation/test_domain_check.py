"""Every language is held against the recipe's limit for the worst, however good the mean is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from exporter.planning.recipe import QualityLimit, Recipe, load_recipe
from exporter.quantization.quantize import write_quantized
from exporter.reference.domains import read_domains
from exporter.reference.texts import Texts
from exporter.resources import data_directory
from exporter.validation.domain_check import check_domains
from exporter.validation.findings import Findings, ReleaseUnderTest
from exporter.validation.verdict import Failed, Passed
from tests.fakes import silent
from tests.jobs import a_job, a_plan, a_variant
from tests.tiny import RandomSource, tiny_gemma3

EMBEDDING = "model.embed_tokens.weight"


@dataclass(frozen=True)
class WithoutTokens(RandomSource):
    """Some tokens' rows are those of another model."""

    lost: tuple[int, ...] = ()

    def rows(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        values = super().rows(name, start, stop).copy()
        if name == EMBEDDING:
            for token in self.lost:
                if start <= token < stop:
                    values[token - start] = -values[token - start][::-1]
        return values


def recipe_with(domain_kl: float | None) -> Recipe:
    limit = QualityLimit(0.5, 0.5, "for tests", domain_kl)
    return replace(load_recipe("int8"), quantisation=limit)


def found(tmp_path: Path, recipe: Recipe, limit: int | None = None, lost: tuple[int, ...] = ()) -> Findings:
    source = RandomSource(tiny_gemma3())
    plan = a_plan(source, a_variant(recipe, ("onnx",)))
    checkpoint = write_quantized(
        WithoutTokens(source.architecture, lost=lost), plan.schemes, tmp_path / "q", silent
    )
    findings = Findings()
    job = a_job(source, (plan,), {}, tmp_path / "work", limit)
    check_domains(job, ReleaseUnderTest(tmp_path, (), plan, checkpoint), findings)
    return findings


def test_every_domain_is_compared_and_gated(tmp_path: Path) -> None:
    findings = found(tmp_path, recipe_with(0.5))
    measured = {each.name: each.statistics.mean_kl for each in findings.domains}
    assert {"hindi", "japanese", "code", "chat"} <= set(measured)
    assert {each.kind for each in findings.domains} == {"language", "code", "chat"}
    gates = {gate.subject: gate.verdict for gate in findings.gates}
    assert {gate.kind for gate in findings.gates} == {"domain"}
    assert gates == {name: Passed(kl, 0.5, "nats") for name, kl in measured.items()}


def test_a_language_whose_tokens_are_lost_fails_and_is_named(tmp_path: Path) -> None:
    source = RandomSource(tiny_gemma3())
    texts = read_domains(data_directory("samples") / "languages", source, Texts.of(source))
    seen = {each.name: set(each.text.tokens[:128].tolist()) for each in texts}
    others = set().union(*(tokens for name, tokens in seen.items() if name != "hindi"))
    lost = tuple(sorted(seen["hindi"] - others))
    assert lost
    findings = found(tmp_path, recipe_with(0.02), lost=lost)
    failed = {gate.subject for gate in findings.gates if isinstance(gate.verdict, Failed)}
    assert "hindi" in failed
    worst = max(findings.domains, key=lambda each: each.statistics.mean_kl)
    assert worst.name == "hindi"


def test_without_a_limit_that_nothing_was_compared_is_said(tmp_path: Path) -> None:
    findings = found(tmp_path, recipe_with(None))
    assert findings.gates == []
    assert "has no limit for the worst" in findings.not_checked[0]


def test_too_few_tokens_are_said_and_not_passed(tmp_path: Path) -> None:
    findings = found(tmp_path, recipe_with(0.5), limit=64)
    assert findings.gates == []
    assert findings.not_checked == [
        "Languages were not compared one by one: --validation-tokens 64 leaves each of 12 fewer than 32."
    ]


@pytest.mark.parametrize("name", ["int8", "int4", "int4-zp", "int4-fast"])
def test_the_recipes_that_quantise_have_a_limit_for_the_worst(name: str) -> None:
    assert load_recipe(name).quantisation.domain_kl is not None
