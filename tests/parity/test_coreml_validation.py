"""A whole validation of a Core ML release passes for every family: random weights, norms far from 1, int8
with equalisation, past four windows. The gates are the toolchain's own, on lowering, stored weights and
execution; what int8 costs weights this wild is not asserted.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from exporter.lowering.coreml.lowering import CoreMlLowering
from exporter.planning.recipe import QualityLimit, load_recipe
from exporter.quantization.quantize import write_quantized
from exporter.quantization.transforms.equalization import equalize
from exporter.reference.activations import input_sizes
from exporter.validation.findings import ReleaseUnderTest
from exporter.validation.verdict import Passed
from tests.fakes import silent
from tests.jobs import a_job, a_plan, a_variant, validated
from tests.tiny import TINY_CONFIGS, WINDOW, RandomSource
from tests.tiny_releases import lowering_order

CONTEXT, TOKENS = 96, 81
ANYTHING = QualityLimit(mean_kl=100.0, top1=0.0, reason="not what is tested")


@pytest.mark.parametrize("family", TINY_CONFIGS)
def test_a_release_of_random_weights_passes(family: str, tmp_path: Path) -> None:
    source = RandomSource(TINY_CONFIGS[family]())
    plain = load_recipe("int8")
    recipe = replace(plain, quantisation=ANYTHING, end_to_end={"coreml": ANYTHING})
    assert recipe.equalization is not None
    seen = input_sizes(source, np.arange(6, 70, dtype=np.int32), silent)
    equalised = equalize(source, seen, recipe.equalization)
    plan = a_plan(source, a_variant(recipe, ("coreml",), CONTEXT, "ios"))
    checkpoint = write_quantized(equalised, plan.schemes, tmp_path / "quantised", silent)
    release = tmp_path / "release"
    release.mkdir()
    lowering = CoreMlLowering()
    artifacts = lowering.lower(lowering_order(checkpoint, release, context=CONTEXT), release, silent)
    job = a_job(source, (plan,), {"coreml": lowering}, tmp_path / "work", TOKENS)
    report = validated(job, ReleaseUnderTest(release, artifacts, plan, checkpoint))
    assert [gate for gate in report.gates if not isinstance(gate.verdict, Passed)] == []
    lowered = [each for each in report.comparisons if each.kind == "lowering"]
    assert len(lowered) == 4, "two routes in two arithmetics"
    assert all(each.statistics.positions > 4 * WINDOW for each in lowered)
