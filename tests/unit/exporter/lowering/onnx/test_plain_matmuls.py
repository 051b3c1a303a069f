"""The body of the ONNX float twin with plain matmuls: what it computes, and when it is made."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from exporter.errors import LoweringError
from exporter.lowering.interface import Segment
from exporter.lowering.onnx.artifact_file import ArtifactFile
from exporter.lowering.onnx.external_data import ALIGNMENT
from exporter.lowering.onnx.float_twin import MATRICES_NAME, float_twin
from exporter.lowering.onnx.twin_run import OnnxTwin
from exporter.models.text.spec import Role
from exporter.schemes import FP16, INT4_G32, INT4_G32_ZP, INT8_CHANNEL, INT8_G32, Scheme
from runtimes.session import Logits
from tests.tiny import TINY_CONFIGS
from tests.tiny_releases import CHUNK, CONTEXT, quantized, some_tokens
from tests.unit.exporter.lowering.onnx.tiny_releases import TinyRelease, lowered

TOKENS = some_tokens(CONTEXT)
ROUTE = (Segment("prefill", CHUNK + 3), Segment("decode", CONTEXT - CHUNK - 3))
LINEAR = "layers.0.mlp.down_proj"


def logits(twin: OnnxTwin) -> Logits:
    return np.concatenate([rows for _, rows in twin.run(ROUTE, TOKENS, lambda done: None)])


def both(release: TinyRelease, scratch: Path) -> tuple[OnnxTwin, OnnxTwin]:
    """The twin with plain matmuls, and the one that dequantises at every call."""
    plain = float_twin(release.directory, release.artifact, scratch / "plain")
    return plain, float_twin(release.directory, release.artifact, scratch / "integer", matrix_bytes=0)


@pytest.fixture
def unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have ONNX Runtime multiply with matrices as they lie in the file, as it does with dequantised ones.
    Packed ones it sums in another order, which tiny models of Gemma 4 E2B make 4e-5 of."""

    class Unpacked(onnxruntime.SessionOptions):  # type: ignore[misc]  # it has no types
        def __init__(self) -> None:
            super().__init__()
            self.add_session_config_entry("session.disable_prepacking", "1")

    monkeypatch.setattr(onnxruntime, "SessionOptions", Unpacked)


def assert_close(found: Logits, expected: Logits) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def body_operators(twin: OnnxTwin) -> set[str]:
    return {node.op_type for node in onnx.load(str(twin.body), load_external_data=False).graph.node}


def initializer_of(release: TinyRelease, end: str) -> tuple[Path, int, int]:
    """File, offset and length of the bytes of a layer's matrix: "codes", "scales"."""
    file = ArtifactFile.open(release.path)
    (name,) = (each for each in file.initializers if LINEAR in each and each.endswith(end))
    return file.external(name)


@pytest.mark.usefixtures("unpacked")
@pytest.mark.parametrize(
    "scheme", [INT8_CHANNEL, INT8_G32, INT4_G32, INT4_G32_ZP, FP16], ids=lambda each: each.name
)
@pytest.mark.parametrize("family", sorted(TINY_CONFIGS))
def test_both_forms_compute_the_same_logits_to_the_last_bit(
    family: str, scheme: Scheme, tmp_path: Path
) -> None:
    release = lowered(tmp_path, quantized(tmp_path, TINY_CONFIGS[family](), scheme))
    plain, integer = both(release, tmp_path)
    assert "MatMulNBits" not in body_operators(plain)
    assert ("MatMulNBits" in body_operators(integer)) == (scheme is not FP16)
    np.testing.assert_array_equal(logits(plain), logits(integer))


@pytest.mark.parametrize("name", ["int8_release", "int4_release"])
def test_packing_the_matrices_changes_no_more_than_the_order_of_sums(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    plain, integer = both(request.getfixturevalue(name), tmp_path)
    assert_close(logits(plain), logits(integer))


@pytest.mark.parametrize("family", sorted(TINY_CONFIGS))
def test_the_matrices_are_the_linear_weights_that_a_memory_plan_counts(family: str, tmp_path: Path) -> None:
    checkpoint = quantized(tmp_path, TINY_CONFIGS[family](), INT8_CHANNEL)
    release = lowered(tmp_path, checkpoint)
    linears = [
        weight.shape[0] * weight.shape[1]
        for weight in checkpoint.components["text"].spec.weights()
        if weight.role is Role.LINEAR
    ]
    twin = float_twin(release.directory, release.artifact, tmp_path / "twin")
    size = twin.body.with_name(MATRICES_NAME).stat().st_size
    assert 0 <= size - 4 * sum(linears) < ALIGNMENT * len(linears)


def test_the_bound_chooses_the_form(int8_release: TinyRelease, tmp_path: Path) -> None:
    def operators(name: str, most: int) -> set[str]:
        return body_operators(
            float_twin(int8_release.directory, int8_release.artifact, tmp_path / name, matrix_bytes=most)
        )

    plain = float_twin(int8_release.directory, int8_release.artifact, tmp_path / "plain")
    body = onnx.load(str(plain.body), load_external_data=False)
    names = {node.input[1] for node in body.graph.node if node.op_type == "FusedMatMul"}
    taken = sum(
        4 * tensor.dims[0] * tensor.dims[1] for tensor in body.graph.initializer if tensor.name in names
    )
    assert "MatMulNBits" not in operators("just", taken)
    assert "FusedMatMul" not in operators("above", taken - 1)
    assert not (tmp_path / "above" / "onnx" / MATRICES_NAME).exists()


@pytest.mark.parametrize(
    ("name", "end"),
    [(name, end) for name in ("int8_release", "int4_release") for end in ("codes", "scales")]
    + [("int4_zp_release", "zeros")],
)
def test_a_fault_in_the_bytes_shows_as_it_does_in_the_other_form(
    name: str, end: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    release: TinyRelease = request.getfixturevalue(name).copy(tmp_path)
    sound, _ = both(release, tmp_path / "sound")
    expected = logits(sound)
    data, offset, length = initializer_of(release, end)
    dtype = np.float32 if end == "scales" else np.uint8
    stored = np.frombuffer(data.read_bytes()[offset : offset + length], dtype).copy()
    stored[0] = stored[0] * 3 if end == "scales" else stored[0] ^ 0x77
    broken = bytearray(data.read_bytes())
    broken[offset : offset + length] = stored.tobytes()
    data.unlink()  # the sound twin has it by another name
    data.write_bytes(broken)
    plain, integer = both(release, tmp_path / "broken")
    found = logits(plain)
    assert np.abs(found - expected).max() > 1e-4 * np.abs(expected).max()
    assert_close(found, logits(integer))


def test_an_artifact_cut_short_is_refused(int8_release: TinyRelease, tmp_path: Path) -> None:
    release = int8_release.copy(tmp_path)
    data, offset, _ = initializer_of(release, "codes")
    os.truncate(data, offset + 1)
    with pytest.raises(LoweringError, match="truncated, export again"):
        float_twin(release.directory, release.artifact, tmp_path / "twin")


def test_a_matrix_of_another_shape_than_its_matmuls_is_refused(
    int8_release: TinyRelease, tmp_path: Path
) -> None:
    release = int8_release.copy(tmp_path)
    model = onnx.load(str(release.path), load_external_data=False)
    (matmul,) = (node for node in model.graph.node if node.op_type == "MatMulNBits" and LINEAR in node.name)
    for attribute in matmul.attribute:
        if attribute.name == "N":
            attribute.i += 1
    release.path.unlink()
    onnx.save(model, str(release.path))
    with pytest.raises(LoweringError, match=r"not \[\d+, \d+\] in fp32"):
        float_twin(release.directory, release.artifact, tmp_path / "twin")
