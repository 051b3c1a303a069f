"""Validation is able to fail: one fault in one artifact, and the release is held back.

Matrix: format × fault (scale, RoPE base, mask, norm), on a tiny model in every format, and LiteRT's two
formats × a per-layer embedding; LiteRT's float twin is run in many stages. Each fault leaves a file that
opens and runs; only the numbers are wrong. Asserted: some comparison of logits fails, not a
mere checksum.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from exporter.lowering.interface import Lowering
from exporter.lowering.litert.lowering import LiteRtLowering
from exporter.lowering.table import lowerings_for
from exporter.planning.plan import FORMAT_FAMILY
from exporter.planning.recipe import load_recipe
from exporter.quantization.store.writer import write_quantized
from exporter.resources import data_directory
from exporter.validation.findings import ValidationRequest
from exporter.validation.report import Gate, ValidationReport
from exporter.validation.validate import validate_release
from exporter.validation.verdict import Failed
from runtimes.manifest import Format
from tests.corruption import coreml, litert, onnx
from tests.fakes import silent
from tests.tiny import RandomSource, tiny_gemma3, tiny_gemma4_e2b
from tests.tiny_releases import lowering_order

FORMATS: tuple[Format, ...] = ("tflite", "onnx", "coreml")
TABLE_FORMATS: tuple[Format, ...] = ("tflite", "litertlm")
FAULTS = ("scale", "rope", "mask", "norm")
CORRUPT: dict[str, Callable[..., None]] = {
    "litert": litert.corrupt,
    "onnx": onnx.corrupt,
    "coreml": coreml.corrupt,
}
TOKENS = 96
TWIN_STAGE_BYTES = 160 << 10  # less than a layer


def _request(
    config: dict[str, Any], formats: tuple[Format, ...], places: pytest.TempPathFactory
) -> ValidationRequest:
    """A tiny model released in some formats, and everything needed to validate it."""
    release = places.mktemp("release")
    source, recipe = RandomSource(config), load_recipe("int8")
    checkpoint = write_quantized(source, recipe.schemes(source.spec), places.mktemp("quantized"), silent)
    lowerings = {family: _in_stages(lowering) for family, lowering in lowerings_for(formats).items()}
    order = lowering_order(checkpoint, release, context=128)
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
        scratch=places.mktemp("scratch"),
        sealed=False,
        checkpoint=checkpoint,
        source=source,
        lowerings=lowerings,
        progress=silent,
        token_limit=TOKENS,
    )


@pytest.fixture(scope="module")
def request_for_all(tmp_path_factory: pytest.TempPathFactory) -> ValidationRequest:
    return _request(tiny_gemma3(), FORMATS, tmp_path_factory)


@pytest.fixture(scope="module")
def request_with_tables(tmp_path_factory: pytest.TempPathFactory) -> ValidationRequest:
    return _request(tiny_gemma4_e2b(), TABLE_FORMATS, tmp_path_factory)


def test_the_honest_release_passes(request_for_all: ValidationRequest) -> None:
    report = validate_release(request_for_all)
    assert report.outcome == "passed", _failed(report)


def test_the_honest_release_with_tables_is_what_its_checkpoint_says(
    request_with_tables: ValidationRequest,
) -> None:
    report = validate_release(request_with_tables)
    # The random model is far more sensitive to int8 than a trained one: that is another comparison.
    assert {gate.kind for gate in _failed(report)} <= {"quantisation", "end to end"}, _failed(report)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_fails_a_comparison_of_logits(
    request_for_all: ValidationRequest, format: Format, fault: str, tmp_path: Path
) -> None:
    report = _validated_with_fault(request_for_all, format, fault, tmp_path)
    assert report.outcome == "failed"
    assert "mean KL" in {gate.statistic for gate in _failed(report)}, _failed(report)


@pytest.mark.parametrize("format", TABLE_FORMATS)
def test_a_fault_in_a_per_layer_table_fails_a_comparison_with_the_checkpoint(
    request_with_tables: ValidationRequest, format: Format, tmp_path: Path
) -> None:
    failed = _failed(_validated_with_fault(request_with_tables, format, "table", tmp_path))
    assert ("lowering", "mean KL") in {(gate.kind, gate.statistic) for gate in failed}, failed
    assert "weights" in {gate.kind for gate in failed}


def _validated_with_fault(
    honest: ValidationRequest, format: Format, fault: str, tmp_path: Path
) -> ValidationReport:
    release = tmp_path / "release"
    shutil.copytree(honest.release, release)
    (artifact,) = (each for each in honest.artifacts if each.format == format)
    CORRUPT[FORMAT_FAMILY[format]](release / artifact.path, fault)
    return validate_release(
        replace(honest, release=release, artifacts=(artifact,), tokenizer=release / "tokenizer.json")
    )


def _in_stages(lowering: Lowering) -> Lowering:
    if isinstance(lowering, LiteRtLowering):
        return replace(lowering, twin_stage_bytes=TWIN_STAGE_BYTES)
    return lowering


def _failed(report: ValidationReport) -> list[Gate]:
    return [gate for gate in report.gates if isinstance(gate.verdict, Failed)]
