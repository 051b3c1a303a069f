from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest
from coremltools.proto import Model_pb2

from exporter.errors import LoweringError
from exporter.lowering.coreml.package import MODEL, WEIGHTS
from exporter.lowering.coreml.read_back import read_matrices
from tests.parity.coreml_packages import lowered


@pytest.fixture
def package(tmp_path: Path) -> Path:
    copy = tmp_path / "model.mlpackage"
    shutil.copytree(lowered("Gemma 3").package, copy)
    return copy


def overwrite(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def operations(model: Any) -> Any:
    function = model.mlProgram.functions["main"]
    return function.block_specializations[function.opset].operations


def records(path: Path) -> list[int]:
    """Offsets of all payload records, found by their sentinel."""
    raw = path.read_bytes()
    return [at for at in range(64, len(raw), 64) if raw[at : at + 4] == struct.pack("<I", 0xDEADBEEF)]


def test_one_changed_byte_is_one_changed_code(package: Path) -> None:
    before = {(rows.weight, rows.start): rows for rows in read_matrices(package)}
    last = records(package / WEIGHTS)[-2]  # codes of the last matrix; its scales come after
    overwrite(package / WEIGHTS, last + 64, b"\x21")
    after = {(rows.weight, rows.start): rows for rows in read_matrices(package)}
    changed = [
        key
        for key, rows in after.items()
        if rows.codes is not None and (rows.codes != before[key].codes).any()
    ]
    assert changed == [("model.layers.6.mlp.down_proj.weight", 0)]
    codes = after[changed[0]].codes
    assert codes is not None
    assert codes[0, :2].tolist() == [1, 2], "the even column is in the low nibble"


def test_a_record_of_another_type_is_refused(package: Path) -> None:
    last = records(package / WEIGHTS)[-1]
    overwrite(package / WEIGHTS, last + 4, struct.pack("<I", 2))
    with pytest.raises(LoweringError, match=r"the record at \d+ is not"):
        list(read_matrices(package))


def test_a_record_of_another_size_is_refused(package: Path) -> None:
    last = records(package / WEIGHTS)[-1]
    overwrite(package / WEIGHTS, last + 8, struct.pack("<Q", 2))
    with pytest.raises(LoweringError, match="the package is damaged"):
        list(read_matrices(package))


def test_a_manifest_with_a_list_for_its_entries_is_refused(package: Path) -> None:
    entries = {"itemInfoEntries": [], "rootModelIdentifier": 0}
    (package / "Manifest.json").write_text(json.dumps(entries), encoding="utf-8")
    with pytest.raises(LoweringError, match="cannot be read as a package's manifest"):
        list(read_matrices(package))


def test_a_model_outside_the_package_is_refused(package: Path, tmp_path: Path) -> None:
    shutil.copyfile(package / MODEL, tmp_path / "elsewhere.mlmodel")
    manifest = package / "Manifest.json"
    manifest.write_text(
        manifest.read_text().replace("com.apple.CoreML/model.mlmodel", "../../elsewhere.mlmodel")
    )
    with pytest.raises(LoweringError, match=r"Manifest\.json.*is outside"):
        list(read_matrices(package))


def test_weights_outside_the_package_are_refused(package: Path, tmp_path: Path) -> None:
    shutil.copyfile(package / WEIGHTS, tmp_path / "elsewhere.bin")
    model = Model_pb2.Model.FromString((package / MODEL).read_bytes())
    for operation in operations(model):
        for value in (each.arguments[0].value for each in operation.inputs.values()):
            if value.HasField("blobFileValue"):
                value.blobFileValue.fileName = "@model_path/../../../elsewhere.bin"
    (package / MODEL).write_bytes(model.SerializeToString())
    with pytest.raises(LoweringError, match=r"elsewhere\.bin', outside the package"):
        list(read_matrices(package))
