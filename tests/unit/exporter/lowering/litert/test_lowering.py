"""A tiny Gemma 3 all the way: lowered, run, read back, twinned, damaged."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from exporter.errors import LoweringError
from exporter.lowering.litert.lowering import LiteRtLowering
from exporter.quantization.methods.nearest import SMALLEST_FP16, ZERO_GROUP_SCALE
from exporter.quantization.store.checkpoint import IntegerMatrix
from exporter.schemes import INT4_CHANNEL, INT4_G32, SCHEMES
from tests.corruption.litert import FAULTS, Fault, corrupt
from tests.fakes import silent
from tests.tiny import WINDOW, RandomSource, tiny_gemma3
from tests.tiny_releases import (
    CHUNK,
    CONTEXT,
    eager_logits,
    lowering_order,
    mean_kl,
    quantized,
    quantized_source,
    some_tokens,
)
from tests.unit.exporter.lowering.litert.tiny_releases import (
    EVERY_FORMAT,
    TinyRelease,
    litert_logits,
    lowered,
    twin_logits,
)

RELEASES = ["int8_release", "int4_release", "fp16_release", "fp32_release"]
TWIN_LIMIT = 1e-6  # the product's own gate
PREFILLED = 2 * CHUNK + 5


def test_the_text_outgrows_the_window_and_the_chunk() -> None:
    assert PREFILLED > WINDOW
    assert PREFILLED % CHUNK
    assert CONTEXT % CHUNK
    assert CONTEXT - PREFILLED > WINDOW


def test_it_carries_every_scheme_but_groups_of_8_bits() -> None:
    assert EVERY_FORMAT.schemes == set(SCHEMES) - {"int8-g32", "int8-g16"}


@pytest.mark.parametrize("name", RELEASES)
@pytest.mark.parametrize("form", ["tflite", "litertlm"])
def test_the_float_twin_computes_what_the_checkpoint_says(
    name: str, form: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    release: TinyRelease = request.getfixturevalue(name)
    tokens = some_tokens(CONTEXT)
    twin = EVERY_FORMAT.float_twin(release.directory, release.artifacts[form], tmp_path)
    found = twin_logits(twin, tokens, PREFILLED)
    assert mean_kl(eager_logits(release.checkpoint, tokens)[PREFILLED:], found) < TWIN_LIMIT


@pytest.mark.parametrize("name", ["fp16_release", "fp32_release"])
def test_a_float_artifact_computes_what_the_checkpoint_says(
    name: str, request: pytest.FixtureRequest
) -> None:
    release: TinyRelease = request.getfixturevalue(name)
    tokens = some_tokens(CONTEXT)
    found = litert_logits(release.path(), tokens, PREFILLED)
    np.testing.assert_allclose(found, eager_logits(release.checkpoint, tokens)[PREFILLED:], atol=1e-4)


def test_int8_kernels_round_next_to_nothing_off(int8_release: TinyRelease) -> None:
    assert 0 < _kernels_kl(int8_release) < TWIN_LIMIT


def test_int4_kernels_are_off_by_their_rounding_of_activations(int4_release: TinyRelease) -> None:
    assert TWIN_LIMIT < _kernels_kl(int4_release) < 1e-2


def test_the_bundle_runs_the_very_same_model(int8_release: TinyRelease) -> None:
    tokens = some_tokens(CONTEXT)
    plain, bundled = (
        litert_logits(int8_release.path(form), tokens, PREFILLED) for form in ("tflite", "litertlm")
    )
    np.testing.assert_array_equal(plain, bundled)


@pytest.mark.parametrize("name", RELEASES)
@pytest.mark.parametrize("form", ["tflite", "litertlm"])
def test_what_is_read_back_is_the_checkpoint(name: str, form: str, request: pytest.FixtureRequest) -> None:
    release: TinyRelease = request.getfixturevalue(name)
    rows = dict.fromkeys(release.checkpoint.matrices, 0)
    for stored in EVERY_FORMAT.read_back(release.directory, release.artifacts[form]):
        matrix = release.checkpoint.matrices[stored.weight]
        assert stored.start == rows[stored.weight]
        if isinstance(matrix, IntegerMatrix):
            assert stored.codes is not None
            assert stored.scales is not None
            stop = stored.start + len(stored.codes)
            np.testing.assert_array_equal(stored.codes, matrix.codes(stored.start, stop))
            np.testing.assert_array_equal(stored.scales, matrix.scales(stored.start, stop))
        else:
            assert stored.values is not None
            stop = stored.start + len(stored.values)
            np.testing.assert_array_equal(stored.values, matrix.values(stored.start, stop))
        rows[stored.weight] = stop
    assert rows == {name: matrix.shape[0] for name, matrix in release.checkpoint.matrices.items()}


def test_int4_with_one_scale_per_row_is_carried_too(tmp_path: Path) -> None:
    release = lowered(tmp_path, quantized(tmp_path, tiny_gemma3(), INT4_CHANNEL))
    tokens = some_tokens(CONTEXT)
    found = litert_logits(release.path(), tokens, PREFILLED)
    assert mean_kl(eager_logits(release.checkpoint, tokens)[PREFILLED:], found) < 1e-2


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(("name", "form"), [("int8_release", "tflite"), ("int4_release", "litertlm")])
def test_a_fault_in_the_artifact_is_a_fault_of_its_twin(
    fault: Fault, name: str, form: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    release: TinyRelease = request.getfixturevalue(name).copy(tmp_path)
    corrupt(release.path(form), fault)
    tokens = some_tokens(CONTEXT)
    twin = EVERY_FORMAT.float_twin(release.directory, release.artifacts[form], tmp_path)
    found = twin_logits(twin, tokens, PREFILLED)
    assert mean_kl(eager_logits(release.checkpoint, tokens)[PREFILLED:], found) > 100 * TWIN_LIMIT


def test_equal_inputs_give_equal_bytes(int8_release: TinyRelease, tmp_path: Path) -> None:
    again = lowered(tmp_path, int8_release.checkpoint)
    for form in ("tflite", "litertlm"):
        assert _digest(again.path(form)) == _digest(int8_release.path(form))


@pytest.mark.parametrize("form", ["tflite", "litertlm"])
def test_only_the_formats_asked_for_are_left(form: str, int8_release: TinyRelease, tmp_path: Path) -> None:
    lowering = LiteRtLowering(frozenset({form}))  # type: ignore[arg-type]  # parametrized as str
    alone = lowered(tmp_path, int8_release.checkpoint, lowering)
    assert [path.name for path in alone.directory.iterdir()] == [f"model.{form}"]
    assert _digest(alone.path(form)) == _digest(int8_release.path(form))


def test_groups_of_zeros_and_of_subnormal_scale_run(tmp_path: Path) -> None:
    source = RandomSource(tiny_gemma3())
    name = "model.layers.0.mlp.gate_proj.weight"
    source.weights[name][0, :32] = 0
    source.weights[name][1, :32] *= 1e-7
    checkpoint = quantized_source(tmp_path, source, INT4_G32)
    matrix = checkpoint.matrices[name]
    assert isinstance(matrix, IntegerMatrix)
    scales = matrix.scales(0, 2).astype(np.float32)
    assert scales[0, 0] == ZERO_GROUP_SCALE
    assert SMALLEST_FP16 <= scales[1, 0] < np.finfo(np.float16).smallest_normal
    tokens = some_tokens(CONTEXT)
    found = litert_logits(lowered(tmp_path, checkpoint).path(), tokens, PREFILLED)
    assert mean_kl(eager_logits(checkpoint, tokens)[PREFILLED:], found) < 1e-2


def test_a_chunk_longer_than_the_context_is_refused(int8_release: TinyRelease, tmp_path: Path) -> None:
    asked = lowering_order(int8_release.checkpoint, tmp_path, prefill_chunk=CONTEXT + 1)
    with pytest.raises(LoweringError, match="does not fit a context"):
        EVERY_FORMAT.lower(asked, tmp_path, silent)


def test_a_format_of_another_runtime_is_refused(int8_release: TinyRelease, tmp_path: Path) -> None:
    with pytest.raises(LoweringError, match="onnx"):
        LiteRtLowering(frozenset({"onnx"})).lower(
            lowering_order(int8_release.checkpoint, tmp_path), tmp_path, silent
        )


def test_a_missing_tokenizer_is_refused(int8_release: TinyRelease, tmp_path: Path) -> None:
    asked = lowering_order(int8_release.checkpoint, tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(LoweringError, match=r"tokenizer\.json"):
        EVERY_FORMAT.lower(asked, tmp_path, silent)


def _kernels_kl(release: TinyRelease) -> float:
    tokens = some_tokens(CONTEXT)
    found = litert_logits(release.path(), tokens, PREFILLED)
    return mean_kl(eager_logits(release.checkpoint, tokens)[PREFILLED:], found)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
