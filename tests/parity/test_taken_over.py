"""Codes taken over from a checkpoint, in the files that run: the same values, and logits of those values.

Matrix: ONNX with all four block types of GGUF on linears and three on embeddings; Core ML with those
whose scales are fp16; LiteRT with what compressed-tensors packed, whose scales are positive. Scales of
GGUF have either sign. Not asserted: how good the codes are.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from exporter.checkpoints.huggingface.source import HuggingFaceSource
from exporter.checkpoints.interface import CheckpointSource
from exporter.lowering.coreml.lowering import CoreMlLowering
from exporter.lowering.interface import Lowering
from exporter.lowering.litert.lowering import LiteRtLowering
from exporter.models.text.spec import Role
from exporter.quantization.quantize import write_quantized
from exporter.quantization.store.checkpoint import IntegerMatrix, QuantizedCheckpoint
from exporter.schemes import INT4_G32, INT8_CHANNEL, Scheme
from exporter.validation.stored_weights import differing_numbers
from runtimes.errors import ArtifactError
from runtimes.formats import Format
from runtimes.manifest import Artifact
from runtimes.mil.arithmetic import ArithmeticName
from runtimes.mil.session import MilSession
from tests.fakes import silent
from tests.holding_source import HoldingSource
from tests.jobs import a_plan, a_variant
from tests.tiny import tiny_gemma3, tiny_gemma4_e2b
from tests.tiny_releases import CHUNK, CONTEXT, eager_logits, lowering_order, mean_kl, some_tokens
from tests.unit.exporter.checkpoints.packed_checkpoints import write_packed
from tests.unit.exporter.lowering.litert.tiny_releases import litert_logits
from tests.unit.exporter.lowering.litert.tiny_releases import twin_logits as litert_twin_logits
from tests.unit.exporter.lowering.onnx.tiny_releases import (
    LOWERING,
    TinyRelease,
    lowered,
    onnx_logits,
    twin_logits,
)

PREFILLED = 2 * CHUNK + 5
UP = "model.layers.3.mlp.up_proj.weight"
EVERY_KIND = ("Q4_0", "Q5_0", "Q8_0", "Q6_K")
FP16_SCALES = ("Q4_0", "Q5_0", "Q8_0")


def taken_over(
    directory: Path, source: CheckpointSource, format: Format, lowering: Lowering, recipe: str = "as-stored"
) -> QuantizedCheckpoint:
    """What the plan for one format makes of a source: its matrices taken over, or this is no test."""
    plan = a_plan(source, a_variant(recipe, (format,), CONTEXT))
    assert plan.taken_over >= {
        weight.name for weight in source.components["text"].weights if weight.role is Role.LINEAR
    }
    return write_quantized(source, plan.schemes, directory / "quantised", silent, plan.taken_over)


def assert_holds_the_sources_values(checkpoint: QuantizedCheckpoint, source: CheckpointSource) -> None:
    negative = 0
    for name in source.held:
        matrix = checkpoint.matrices[name]
        assert isinstance(matrix, IntegerMatrix)
        rows = matrix.shape[0]
        np.testing.assert_array_equal(matrix.values(0, rows), source.rows(name, 0, rows))
        negative += int((matrix.scales(0, rows) < 0).sum())
    assert negative > 100


@pytest.fixture(
    scope="module",
    params=[(tiny_gemma3, "Q6_K"), (tiny_gemma3, "Q8_0"), (tiny_gemma4_e2b, "Q5_0")],
    ids=["embedding in 16s", "embedding in 32s", "per-layer embedding too"],
)
def onnx_release(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TinyRelease:
    directory = tmp_path_factory.mktemp("onnx")
    config, others = request.param
    source = HoldingSource(config(), kinds=EVERY_KIND, others=others)
    checkpoint = taken_over(directory, source, "onnx", LOWERING)
    assert set(source.held) == set(checkpoint.matrices)
    assert_holds_the_sources_values(checkpoint, source)
    return lowered(directory, checkpoint)


def test_an_onnx_file_holds_the_very_codes_and_scales(onnx_release: TinyRelease) -> None:
    stored = LOWERING.read_back(onnx_release.directory, onnx_release.artifact)
    assert differing_numbers(stored, onnx_release.checkpoint) == 0


def test_an_onnx_graph_computes_with_the_very_values(onnx_release: TinyRelease, tmp_path: Path) -> None:
    tokens = some_tokens(CONTEXT)
    expected = eager_logits(onnx_release.checkpoint, tokens)
    assert mean_kl(expected, twin_logits(onnx_release, tmp_path, tokens, PREFILLED)) < 1e-6


def test_onnx_runtimes_integer_kernels_take_them_too(onnx_release: TinyRelease) -> None:
    tokens = some_tokens(CONTEXT)
    expected = eager_logits(onnx_release.checkpoint, tokens)[PREFILLED - 1 :]
    off = mean_kl(expected, onnx_logits(onnx_release.path, tokens, PREFILLED))
    assert 1e-6 < off < 1e-2  # 4-bit matmuls round activations to int8


@dataclass(frozen=True)
class Package:
    directory: tempfile.TemporaryDirectory[str]
    checkpoint: QuantizedCheckpoint
    artifact: Artifact


@pytest.fixture(scope="module")
def package() -> Package:
    directory = tempfile.TemporaryDirectory()
    root, lowering = Path(directory.name), CoreMlLowering()
    source = HoldingSource(tiny_gemma3(), kinds=FP16_SCALES, others="Q8_0")
    checkpoint = taken_over(root, source, "coreml", lowering)
    assert_holds_the_sources_values(checkpoint, source)
    (artifact,) = lowering.lower(lowering_order(checkpoint, root), root, silent)
    return Package(directory, checkpoint, artifact)


def test_a_core_ml_package_holds_the_very_codes_and_scales(package: Package) -> None:
    stored = CoreMlLowering().read_back(Path(package.directory.name), package.artifact)
    assert differing_numbers(stored, package.checkpoint) == 0


@pytest.mark.parametrize(("arithmetic", "limit"), [("fp32", 1e-5), ("fp16", 1e-3)])
def test_a_core_ml_package_computes_with_the_very_values(
    package: Package, arithmetic: ArithmeticName, limit: float
) -> None:
    tokens = some_tokens(CONTEXT - 8)
    path = Path(package.directory.name) / package.artifact.path
    with MilSession.open(path, arithmetic, prefill_chunk=CHUNK) as session:
        pieces = [session.prefill(tokens[:PREFILLED])]
        pieces += [session.decode(int(token))[None] for token in tokens[PREFILLED:]]
    assert mean_kl(eager_logits(package.checkpoint, tokens), np.concatenate(pieces)) <= limit


@pytest.mark.parametrize("recipe", ["int4", "as-stored"])
def test_litert_computes_with_what_compressed_tensors_packed(tmp_path: Path, recipe: str) -> None:
    """A group with a scale of 0 among them, which the file holds as a small one over codes of 0."""
    write_packed(tmp_path / "checkpoint")
    path = tmp_path / "checkpoint" / "model.safetensors"
    tensors = load_file(path)
    tensors[f"{UP}_scale"][3, 1] = 0
    save_file(tensors, path, {"format": "pt"})
    source = HuggingFaceSource.open(tmp_path / "checkpoint")
    lowering = LiteRtLowering(frozenset({"tflite"}))
    checkpoint = taken_over(tmp_path, source, "tflite", lowering, recipe)
    for name in source.held:
        matrix = checkpoint.matrices[name]
        rows = matrix.shape[0]
        np.testing.assert_array_equal(matrix.values(0, rows), source.rows(name, 0, rows))
    assert not source.rows(UP, 3, 4)[0, 32:].any()
    (artifact,) = lowering.lower(lowering_order(checkpoint, tmp_path), tmp_path, silent)
    assert differing_numbers(lowering.read_back(tmp_path, artifact), checkpoint) == 0
    tokens = some_tokens(CONTEXT)
    expected = eager_logits(checkpoint, tokens)[PREFILLED:]
    twin = lowering.float_twin(tmp_path, artifact, tmp_path)
    assert mean_kl(expected, litert_twin_logits(twin, tokens, PREFILLED)) < 1e-6
    assert mean_kl(expected, litert_logits(tmp_path / artifact.path, tokens, PREFILLED)) < 1e-2


def _negative(scales: np.ndarray[tuple[int, ...], np.dtype[np.float16]]) -> None:
    scales[3, 1] *= -1


def _zero(scales: np.ndarray[tuple[int, ...], np.dtype[np.float16]]) -> None:
    scales[3, 1] = 0


@pytest.mark.parametrize("change", [_negative, _zero])
def test_xnnpack_refuses_a_block_scale_of_0_or_below(
    tmp_path: Path, change: Callable[[np.ndarray[tuple[int, ...], np.dtype[np.float16]]], None]
) -> None:
    """Why LiteRT takes no Q4_0 over. When this fails, a newer runtime does, and the plan may too."""
    source = HoldingSource(tiny_gemma3())
    schemes: dict[str, Scheme] = dict.fromkeys(source.held, INT4_G32)
    schemes["model.embed_tokens.weight"] = INT8_CHANNEL
    checkpoint = write_quantized(source, schemes, tmp_path / "quantised", silent)
    matrix = checkpoint.matrices[UP]
    assert isinstance(matrix, IntegerMatrix)
    header = matrix.file.tensors[f"{matrix.name}_scale"]
    data = bytearray(matrix.file.path.read_bytes())
    change(np.frombuffer(data, np.float16, header.nbytes // 2, header.begin).reshape(header.shape))
    matrix.file.path.write_bytes(data)
    lowering = LiteRtLowering(frozenset({"tflite"}))
    (artifact,) = lowering.lower(lowering_order(checkpoint, tmp_path), tmp_path, silent)
    with pytest.raises(ArtifactError, match="unsupported scale value"):
        litert_logits(tmp_path / artifact.path, some_tokens(CONTEXT), PREFILLED)
