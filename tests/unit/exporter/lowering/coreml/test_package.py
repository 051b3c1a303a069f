from __future__ import annotations

import json
from pathlib import Path

from exporter.lowering.coreml.blob_file import Blob, BlobWriter, Element, one_piece
from exporter.lowering.coreml.package import CONVERSION_DATE, MODEL, WEIGHTS, describe, write_package
from exporter.lowering.coreml.quiet import quietly

with quietly():
    from coremltools.proto import Model_pb2


def write(package: Path) -> None:
    weights = BlobWriter()
    weights.add(Blob("gain", Element.FLOAT16, 2, one_piece(b"\0\0")))
    model = Model_pb2.Model()
    model.specificationVersion = 9
    write_package(package, model, weights, lambda done: None)


def test_the_manifest_points_at_the_model_and_the_weights(tmp_path: Path) -> None:
    package = tmp_path / "model.mlpackage"
    write(package)
    manifest = json.loads((package / "Manifest.json").read_text())
    root = manifest["itemInfoEntries"][manifest["rootModelIdentifier"]]
    assert package / "Data" / root["path"] == package / MODEL
    paths = {entry["path"] for entry in manifest["itemInfoEntries"].values()}
    assert paths == {"com.apple.CoreML/model.mlmodel", "com.apple.CoreML/weights"}
    assert (package / WEIGHTS).is_file()


def test_its_identifiers_are_not_drawn_anew(tmp_path: Path) -> None:
    write(tmp_path / "a.mlpackage")
    write(tmp_path / "b.mlpackage")
    first, second = (tmp_path / name / "Manifest.json" for name in ("a.mlpackage", "b.mlpackage"))
    assert first.read_bytes() == second.read_bytes()


def test_the_description_replaces_the_date() -> None:
    model = Model_pb2.Model()
    model.description.metadata.userDefined[CONVERSION_DATE] = "2026-11-24"
    describe(model, "A decoder.", {"context": "64"})
    assert dict(model.description.metadata.userDefined) == {"gemma-export.context": "64"}
    assert model.description.metadata.shortDescription == "A decoder."
