"""What is inside a directory, and that readers of every artifact ask before they open what a file names."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.errors import LoweringError
from exporter.lowering.coreml.read_back import read_matrices
from exporter.lowering.onnx.read_back import read_back
from runtimes.errors import ArtifactError
from runtimes.inside import is_inside, is_plain_path
from runtimes.mil.execution import Execution
from tests.fuzz.sound_files import write_mlpackage, write_onnx


@pytest.mark.parametrize("name", ["", "/a", "a//b", "./a", "a/..", "../a", "a\\b", "a\0", "a/"])
def test_a_path_that_is_not_plain_is_not(name: str) -> None:
    assert not is_plain_path(name)


def test_a_plain_path_is() -> None:
    assert is_plain_path("onnx/model.onnx.data")


def test_links_are_followed_to_tell(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "loop").symlink_to("loop")
    (tmp_path / "in" / "out").symlink_to("..")
    (tmp_path / "in" / "round").symlink_to("../in")
    found = {
        name: is_inside(tmp_path / "in", tmp_path / "in" / name) for name in ("out", "round", "no", "a\0")
    }
    assert found == {"out": False, "round": True, "no": True, "a\0": False}
    assert not is_inside(tmp_path / "in", tmp_path / "in" / "loop" / "x")


@pytest.mark.parametrize("where", ["weights/weight.bin", "model.mlmodel"])
def test_a_core_ml_package_is_not_read_through_a_link_out_of_it(tmp_path: Path, where: str) -> None:
    package = write_mlpackage(tmp_path / "m.mlpackage")
    path = package / "Data" / "com.apple.CoreML" / where
    path.rename(tmp_path / "outside")
    path.symlink_to(tmp_path / "outside")
    with pytest.raises(ArtifactError, match="do not trust this release"):
        Execution.open(package, "fp32")
    with pytest.raises(LoweringError, match="is outside"):
        list(read_matrices(package))


@pytest.mark.parametrize("name", ["/etc/hostname", "@model_path//etc/hostname", "@model_path/../../../x"])
def test_a_program_that_names_weights_outside_its_package_is_refused(tmp_path: Path, name: str) -> None:
    from coremltools.proto import Model_pb2

    package = write_mlpackage(tmp_path / "m.mlpackage")
    path = package / "Data" / "com.apple.CoreML" / "model.mlmodel"
    model = Model_pb2.Model()
    model.ParseFromString(path.read_bytes())
    block = model.mlProgram.functions["main"].block_specializations["CoreML8"]
    block.operations[0].inputs["data"].arguments[0].value.blobFileValue.fileName = name
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ArtifactError, match="not inside the package; do not trust this release"):
        Execution.open(package, "fp32")
    with pytest.raises(LoweringError):
        list(read_matrices(package))


def test_onnx_data_is_not_read_through_a_link_out_of_its_directory(tmp_path: Path) -> None:
    (tmp_path / "onnx").mkdir()
    path = write_onnx(tmp_path / "onnx" / "model.onnx")
    data = path.with_name("model.onnx.data")
    data.rename(tmp_path / "outside")
    data.symlink_to(tmp_path / "outside")
    with pytest.raises(LoweringError, match="do not trust this file"):
        list(read_back(path))
