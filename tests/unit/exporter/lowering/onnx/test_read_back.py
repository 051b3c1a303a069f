"""Reading an artifact back is about its bytes: a change shows, contradictions are refused.

Files that are cut short or absent: tests/contracts/test_lowering.py.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from exporter.errors import LoweringError
from exporter.lowering.onnx import stored_tensors
from exporter.lowering.onnx.read_back import read_back
from exporter.quantization.store.checkpoint import IntegerMatrix
from exporter.schemes import INT4_CHANNEL_ZP
from exporter.validation.stored_weights import differing_numbers
from tests.corruption.onnx import OpenGraph
from tests.tiny import tiny_gemma3
from tests.tiny_releases import quantized
from tests.unit.exporter.lowering.onnx.tiny_releases import TinyRelease, lowered

DOWN = "model.layers.0.mlp.down_proj"


def opened(release: TinyRelease) -> OpenGraph:
    return OpenGraph(release.path, onnx.load(str(release.path), load_external_data=False))


def first_down(graph: OpenGraph) -> onnx.NodeProto:
    return next(node for node in graph.nodes("MatMulNBits") if node.name == DOWN)


def test_a_changed_zero_point_is_a_changed_code(int8_release: TinyRelease, tmp_path: Path) -> None:
    release = int8_release.copy(tmp_path)
    graph = opened(release)
    graph.data(first_down(graph).input[3])[0, 0] -= 1
    matrix = release.checkpoint.matrices[f"{DOWN}.weight"]
    assert isinstance(matrix, IntegerMatrix)
    (stored,) = (rows for rows in read_back(release.path) if rows.weight == matrix.name)
    assert stored.codes is not None
    difference = stored.codes.astype(np.int16) - matrix.codes(0, matrix.shape[0])
    assert (difference[0] == 1).all()
    assert (difference[1:] == 0).all()


def test_a_changed_zero_point_of_a_scheme_with_them_is_no_changed_code(
    int4_zp_release: TinyRelease, tmp_path: Path
) -> None:
    release = int4_zp_release.copy(tmp_path)
    graph = opened(release)
    graph.data(first_down(graph).input[3])[3, 1] ^= 0x10  # of groups 2 and 3: the latter's
    matrix = release.checkpoint.matrices[f"{DOWN}.weight"]
    assert isinstance(matrix, IntegerMatrix)
    (stored,) = (rows for rows in read_back(release.path) if rows.weight == matrix.name)
    np.testing.assert_array_equal(stored.codes, matrix.codes(0, matrix.shape[0]))
    differing = np.argwhere(stored.zero_points != matrix.zero_points(0, matrix.shape[0]))
    assert differing.tolist() == [[3, 3]]
    assert differing_numbers(read_back(release.path), release.checkpoint) == 1


def test_blocks_of_a_row_must_agree_on_its_zero_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_tensors, "CHANNEL_BLOCK", 32)
    release = lowered(tmp_path, quantized(tmp_path, tiny_gemma3(), INT4_CHANNEL_ZP))
    assert differing_numbers(read_back(release.path), release.checkpoint) == 0
    graph = opened(release)
    zeros = graph.data(first_down(graph).input[3])
    assert zeros.shape[1] == 2
    zeros[5, 1] ^= 0x01
    with pytest.raises(LoweringError, match=r"down_proj.*or different zero points"):
        list(read_back(release.path))


def test_blocks_of_a_row_must_agree_on_its_scale(
    int8_release: TinyRelease, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_tensors, "CHANNEL_BLOCK", 32)
    release = lowered(tmp_path, int8_release.checkpoint)
    assert sum(1 for _ in read_back(release.path)) == len(release.checkpoint.matrices)
    graph = opened(release)
    scales = graph.data(first_down(graph).input[2])
    assert scales.shape[1] == 4
    scales[5, 2] *= 2
    with pytest.raises(LoweringError, match=r"down_proj.*blocks that share a scale"):
        list(read_back(release.path))


@pytest.mark.parametrize("location", ["../model.onnx.data", "/etc/passwd"])
def test_data_outside_the_artifact_is_refused(
    location: str, int8_release: TinyRelease, tmp_path: Path
) -> None:
    release = int8_release.copy(tmp_path)
    graph = opened(release)
    for tensor in graph.model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    release.path.write_bytes(graph.model.SerializeToString())
    with pytest.raises(LoweringError, match="do not trust"):
        list(read_back(release.path))
