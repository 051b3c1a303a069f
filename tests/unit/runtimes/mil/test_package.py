"""Finding and refusing packages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runtimes.errors import ArtifactError
from runtimes.mil.package import read_package
from tests.parity.mil_packages import edit_model


def _model_file(package: Path) -> Path:
    return package / "Data" / "com.apple.CoreML" / "model.mlmodel"


def test_a_package_is_found_through_its_manifest(language_model: Path) -> None:
    package = read_package(language_model)
    assert package.directory == language_model / "Data" / "com.apple.CoreML"
    assert set(package.model.functions) == {"main"}


def test_a_directory_without_a_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"Manifest\.json: no such file"):
        read_package(tmp_path)


def test_a_manifest_without_a_root_is_refused(damaged: Path) -> None:
    (damaged / "Manifest.json").write_text("{}")
    with pytest.raises(ArtifactError, match="does not say where the model file is"):
        read_package(damaged)


def test_a_manifest_that_points_outside_is_refused(damaged: Path) -> None:
    manifest = {"rootModelIdentifier": "a", "itemInfoEntries": {"a": {"path": "../../model.mlmodel"}}}
    (damaged / "Manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match="leaves the package"):
        read_package(damaged)


@pytest.mark.parametrize("kept", [0.2, 0.5, 0.999])
def test_a_truncated_model_file_is_refused_with_its_path(damaged: Path, kept: float) -> None:
    data = _model_file(damaged).read_bytes()
    _model_file(damaged).write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(ArtifactError, match=r"model\.mlmodel: .*damaged or newer"):
        read_package(damaged)


def test_another_specification_version_is_refused(damaged: Path) -> None:
    def age(model: Any) -> None:
        model.specificationVersion = 8

    edit_model(damaged, age)
    with pytest.raises(ArtifactError, match="specification version 8"):
        read_package(damaged)
