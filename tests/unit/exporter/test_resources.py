"""Data directories are found in a checkout and in an installed wheel, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.resources import _find, data_directory


def test_this_checkout_has_its_profiles_and_samples() -> None:
    assert (data_directory("device_profiles") / "default-android.toml").is_file()
    assert data_directory("samples").is_dir()


def test_an_installed_wheel_is_served_from_inside_the_package(tmp_path: Path) -> None:
    inside = tmp_path / "exporter" / "_data" / "samples"
    inside.mkdir(parents=True)
    (tmp_path / "samples").mkdir()
    assert _find("samples", tmp_path / "exporter") == inside


def test_a_stranger_s_directory_beside_the_package_is_not_taken_for_ours(tmp_path: Path) -> None:
    (tmp_path / "exporter").mkdir()
    (tmp_path / "samples").mkdir()
    with pytest.raises(FileNotFoundError, match="install again"):
        _find("samples", tmp_path / "exporter")
    (tmp_path / "pyproject.toml").touch()
    assert _find("samples", tmp_path / "exporter") == tmp_path / "samples"
