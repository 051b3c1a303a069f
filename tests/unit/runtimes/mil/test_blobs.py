"""Weight files: what is mapped, and what is refused."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from runtimes.errors import ArtifactError
from runtimes.mil.blobs import BlobFile, BlobFiles
from runtimes.mil.messages import BlobReference
from runtimes.mil.tensor_types import DataType

PAYLOAD = bytes(range(100))
HEADER = struct.pack("<II", 1, 2) + bytes(56)


def _record(
    sentinel: int = 0xDEADBEEF, code: int = 4, size: int = 100, start: int = 128, padding: int = 0
) -> bytes:
    return struct.pack("<IIQQQ", sentinel, code, size, start, padding) + bytes(32)


def _write(directory: Path, header: bytes = HEADER, record: bytes | None = None) -> Path:
    path = directory / "weight.bin"
    path.write_bytes(header + (_record() if record is None else record) + PAYLOAD)
    return path


def test_a_payload_is_found_behind_its_record(tmp_path: Path) -> None:
    assert bytes(BlobFile(_write(tmp_path)).payload(64, DataType.INT8)) == PAYLOAD


def test_coremltools_own_file_is_read(language_model: Path) -> None:
    path = language_model / "Data" / "com.apple.CoreML" / "weights" / "weight.bin"
    assert len(BlobFile(path).payload(64, DataType.FLOAT16)) == 11 * 4 * 2


@pytest.mark.parametrize(
    ("record", "what"),
    [
        (_record(sentinel=0xDEADBEE0), "no metadata record at 64"),
        (_record(code=1), "blob type 1 at 64 where the program declares INT8"),
        (_record(code=77), "blob type 77"),
        (_record(size=101), "wants 101"),
        (_record(start=1 << 40), "wants 100"),
        (_record(start=129), "payload at 129"),
        (_record(start=64), "payload at 64"),
        (_record(padding=9), "9 padding bits"),
    ],
)
def test_a_damaged_record_is_refused(tmp_path: Path, record: bytes, what: str) -> None:
    file = BlobFile(_write(tmp_path, record=record))
    with pytest.raises(ArtifactError, match=what):
        file.payload(64, DataType.INT8)


@pytest.mark.parametrize("offset", [0, 65, 1 << 40])
def test_an_offset_that_is_no_record_is_refused(tmp_path: Path, offset: int) -> None:
    with pytest.raises(ArtifactError, match=f"no metadata record at {offset}"):
        BlobFile(_write(tmp_path)).payload(offset, DataType.INT8)


def test_another_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="blob version 3"):
        BlobFile(_write(tmp_path, header=struct.pack("<II", 1, 3) + bytes(56)))


def test_an_empty_or_missing_file_is_refused_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "weight.bin").write_bytes(b"")
    with pytest.raises(ArtifactError, match=r"weight\.bin: the weight file cannot be mapped"):
        BlobFile(tmp_path / "weight.bin")
    with pytest.raises(ArtifactError, match=r"none\.bin"):
        BlobFile(tmp_path / "none.bin")


@pytest.mark.parametrize("name", ["@model_path/../weight.bin", "/etc/passwd", "weight.bin"])
def test_a_file_outside_the_package_is_refused(tmp_path: Path, name: str) -> None:
    _write(tmp_path)
    with pytest.raises(ArtifactError, match="not inside the package"):
        BlobFiles(tmp_path).payload(BlobReference(name, 64), DataType.INT8)
