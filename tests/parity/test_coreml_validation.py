"""A whole validation of a Core ML release passes for every family: random weights, norms far from 1, int8
with equalisation, past four windows. The gates are the toolchain's own, on lowering, stored weights and
execution; what int8 costs weights this wild is not asserted.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from exporter.lowering.coreml import CoreMlLowering
from exporter.planning.recipe import QualityLimit, load_recipe
from exporter.quantization.store.writer import write_quantized
from exporter.quantization.transforms.equalization import equalize
from exporter.reference.activations import input_sizes
from exporter.resources import data_directory
from exporter.validation.findings import ValidationRequest
from exporter.validation.validate import validate_release
from exporter.validation.verdict import Passed
from tests.fakes import silent
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
    schemes = recipe.schemes(source.spec)
    checkpoint = write_quantized(equalised, schemes, tmp_path / "quantised", silent)
    release = tmp_path / "release"
    release.mkdir()
    lowering = CoreMlLowering()
    artifacts = lowering.lower(lowering_order(checkpoint, release, context=CONTEXT), release, silent)
    report = validate_release(
        ValidationRequest(
            release=release,
            artifacts=artifacts,
            model=source.name,
            target="ios",
            recipe=recipe,
            tokenizer=release / "tokenizer.json",
            bos_token=2,
            evaluation=data_directory("samples") / "evaluation",
            scratch=tmp_path,
            sealed=False,
            checkpoint=checkpoint,
            source=source,
            lowerings={"coreml": lowering},
            progress=silent,
            token_limit=TOKENS,
        )
    )
    assert [gate for gate in report.gates if not isinstance(gate.verdict, Passed)] == []
    lowered = [each for each in report.comparisons if each.kind == "lowering"]
    assert len(lowered) == 4, "two routes in two arithmetics"
    assert all(each.statistics.positions > 4 * WINDOW for each in lowered)
