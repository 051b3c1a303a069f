from __future__ import annotations

import json
from pathlib import Path

from exporter.lowering.coreml.blob_file import Blob, BlobWriter, Element, one_piece
from exporter.lowering.coreml.package import CONVERSION_DATE, MODEL, WEIGHTS, describe, write_package
from exporter.lowering.coreml.quiet import quietly
from tests.tiny_releases import MADE_FROM

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
    describe(model, "A decoder.", MADE_FROM, {"context": "64"})
    metadata = model.description.metadata
    assert dict(metadata.userDefined) == {
        "co.huggingface.exporters.name": "owner/tiny-gemma",
        "gemma-export.context": "64",
    }
    assert metadata.shortDescription == "A decoder."


def test_author_licence_and_version_are_said_where_xcode_shows_them() -> None:
    model = Model_pb2.Model()
    describe(model, "A decoder.", MADE_FROM, {})
    metadata = model.description.metadata
    assert metadata.author == "The authors of owner/tiny-gemma; converted with gemma-export"
    assert metadata.license == "Gemma Terms of Use; see the NOTICE of the release"
    assert metadata.versionString == "gemma-export 0"
