"""Validation is able to fail: one fault in one artifact, and the release is held back.

Matrix: format × fault (scale, RoPE base, mask, norm), on a tiny model in every format. Each fault leaves
a file that opens and runs; only the numbers are wrong. Asserted: some comparison of logits fails, not
merely a checksum.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from exporter.lowering.table import lowerings_for
from exporter.planning.plan import FORMAT_FAMILY
from exporter.planning.recipe import load_recipe
from exporter.quantization.writer import write_quantized
from exporter.resources import data_directory
from exporter.validation.request import ValidationRequest
from exporter.validation.validate import validate_release
from exporter.validation.verdict import Failed
from runtimes.manifest import Format
from tests.corruption import coreml, litert, onnx
from tests.fakes import silent
from tests.tiny import RandomSource, tiny_gemma3
from tests.tiny_releases import lowering_request

FORMATS: tuple[Format, ...] = ("tflite", "onnx", "coreml")
FAULTS = ("scale", "rope", "mask", "norm")
CORRUPT: dict[str, Callable[..., None]] = {
    "litert": litert.corrupt,
    "onnx": onnx.corrupt,
    "coreml": coreml.corrupt,
}
TOKENS = 96


@pytest.fixture(scope="module")
def request_for_all(tmp_path_factory: pytest.TempPathFactory) -> ValidationRequest:
    """A tiny model released in three formats, and everything needed to validate it."""
    release = tmp_path_factory.mktemp("release")
    source, recipe = RandomSource(tiny_gemma3()), load_recipe("int8")
    checkpoint = write_quantized(
        source, recipe.schemes(source.spec), tmp_path_factory.mktemp("quantized"), silent
    )
    lowerings = lowerings_for(FORMATS)
    order = lowering_request(checkpoint, release, context=128)
    artifacts = tuple(
        artifact for lowering in lowerings.values() for artifact in lowering.lower(order, release, silent)
    )
    return ValidationRequest(
        release=release,
        artifacts=artifacts,
        model=source.name,
        target="all",
        recipe=recipe,
        tokenizer=release / "tokenizer.json",
        bos_token=2,
        evaluation=data_directory("samples") / "evaluation",
        scratch=tmp_path_factory.mktemp("scratch"),
        sealed=False,
        checkpoint=checkpoint,
        source=source,
        lowerings=lowerings,
        progress=silent,
        token_limit=TOKENS,
    )


def test_the_honest_release_passes(request_for_all: ValidationRequest) -> None:
    report = validate_release(request_for_all)
    assert report.outcome == "passed", [gate for gate in report.gates if isinstance(gate.verdict, Failed)]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_fails_a_comparison_of_logits(
    request_for_all: ValidationRequest, format: Format, fault: str, tmp_path: Path
) -> None:
    release = tmp_path / "release"
    shutil.copytree(request_for_all.release, release)
    (artifact,) = (each for each in request_for_all.artifacts if each.format == format)
    CORRUPT[FORMAT_FAMILY[format]](release / artifact.path, fault)
    report = validate_release(
        replace(
            request_for_all,
            release=release,
            artifacts=(artifact,),
            tokenizer=release / "tokenizer.json",
        )
    )
    failed = {gate.statistic for gate in report.gates if isinstance(gate.verdict, Failed)}
    assert report.outcome == "failed"
    assert "mean KL" in failed, failed
