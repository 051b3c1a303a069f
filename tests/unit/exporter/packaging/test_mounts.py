"""Which directories a file system is mounted at, told without mounting any."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from exporter.packaging import mounts
from exporter.packaging.mounts import is_mount_point

LINE = "2121 29 254:0 {root} {place} rw,relatime shared:1 - ext4 /dev/vda rw\n"


def listed(place: str, directory: Path) -> Path:
    """A list of mounts with one at `place`, of a directory of the same disk."""
    path = directory / "mountinfo"
    path.write_text(LINE.format(root="/", place="/") + LINE.format(root=r"/a\040b", place=place), "utf-8")
    return path


def test_where_a_disk_is_mounted_and_where_none_is(tmp_path: Path) -> None:
    assert is_mount_point(Path("/"))
    assert is_mount_point(Path("/proc"))
    assert not is_mount_point(tmp_path)
    assert not is_mount_point(tmp_path / "missing" / "directory")


@pytest.mark.parametrize("name", ["out", "out put", "r\\elease", "übrig"])
def test_a_directory_mounted_a_second_time_is_found(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / name
    out.mkdir()
    assert not is_mount_point(out)
    place = str(out).replace("\\", r"\134").replace(" ", r"\040")
    monkeypatch.setattr(mounts, "MOUNTS", listed(place, tmp_path))
    assert is_mount_point(out)
    assert is_mount_point(Path(os.path.relpath(out)))
    assert not is_mount_point(out / "inside")
    assert not is_mount_point(tmp_path)


def test_a_system_without_a_list_is_asked_about_devices_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mounts, "MOUNTS", tmp_path / "missing")
    assert is_mount_point(Path("/proc"))
    assert not is_mount_point(tmp_path)
