"""GGUF headers, honest and hostile. Files are written byte by byte, so each lie is exactly one."""

from __future__ import annotations

import re
import struct
import subprocess
import sys
from pathlib import Path

import gguf
import numpy as np
import pytest

from exporter.checkpoints.gguf.file import GgufFile
from exporter.errors import CheckpointError
from tests.unit.exporter.checkpoints.written_checkpoints import tiny_source
from tests.unit.exporter.checkpoints.written_gguf import write_gguf

HUGE = 1 << 60
UINT32, STRING, ARRAY = 4, 8, 9
F32, Q8_0 = 0, 8


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def key(name: str, kind: int, value: bytes) -> bytes:
    return text(name) + struct.pack("<I", kind) + value


def tensor(name: str, sides: list[int], kind: int = F32, offset: int = 0) -> bytes:
    shape = struct.pack(f"<I{len(sides)}Q", len(sides), *sides)
    return text(name) + shape + struct.pack("<IQ", kind, offset)


def written(
    path: Path,
    *,
    magic: bytes = b"GGUF",
    version: int = 3,
    keys: tuple[bytes, ...] = (),
    tensors: tuple[bytes, ...] = (),
    tensor_count: int | None = None,
    key_count: int | None = None,
    data: bytes = b"",
) -> Path:
    """A file from its parts; counts may be claimed."""
    claimed = (
        len(tensors) if tensor_count is None else tensor_count,
        len(keys) if key_count is None else key_count,
    )
    head = magic + struct.pack("<IQQ", version, *claimed) + b"".join(keys) + b"".join(tensors)
    path.write_bytes(head + b"\0" * (-len(head) % 32) + data)
    return path


def refused(path: Path, what: str) -> None:
    """Opening is refused with where, what and what to do."""
    with pytest.raises(CheckpointError, match=what) as caught:
        GgufFile.open(path)
    assert str(path) in caught.value.where
    assert caught.value.then


def test_a_header_is_read_as_the_gguf_package_reads_it(tmp_path: Path) -> None:
    path = write_gguf(tiny_source(), tmp_path / "tiny.gguf", kinds=("Q8_0", "Q5_0", "F16"))
    ours, theirs = GgufFile.open(path), gguf.GGUFReader(path)
    assert list(ours.tensors) == [tensor.name for tensor in theirs.tensors]
    for reference in theirs.tensors:
        mine = ours.tensors[reference.name]
        assert mine.shape == tuple(int(side) for side in reference.shape[::-1])
        assert (mine.kind, mine.nbytes) == (reference.tensor_type, reference.n_bytes)
        assert mine.begin == reference.data_offset
        raw = np.asarray(reference.data).view(np.uint8).reshape(-1, mine.row_bytes)
        np.testing.assert_array_equal(ours.read_rows(mine.name, 0, len(raw)), raw)
    for name, value in ours.metadata.items():
        expected = theirs.fields[name].contents()
        assert (list(value) if isinstance(value, tuple | np.ndarray) else value) == expected


def test_version_2_is_read_too(tmp_path: Path) -> None:
    assert GgufFile.open(written(tmp_path / "x.gguf", version=2)).tensors == {}


def test_a_file_that_is_absent_is_refused(tmp_path: Path) -> None:
    refused(tmp_path / "x.gguf", "No such file")


def test_another_magic_is_refused(tmp_path: Path) -> None:
    refused(written(tmp_path / "x.gguf", magic=b"PK\3\4"), "does not start with 'GGUF'")


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").touch()
    refused(tmp_path / "x.gguf", "the magic takes 4 bytes, 0 are left")


@pytest.mark.parametrize(("version", "what"), [(1, "version 1"), (4, "version 4"), (3 << 24, "big-endian")])
def test_another_version_is_refused(tmp_path: Path, version: int, what: str) -> None:
    refused(written(tmp_path / "x.gguf", version=version), what)


def test_a_truncated_header_is_refused_with_its_offset_wherever_it_ends(tmp_path: Path) -> None:
    whole = write_gguf(tiny_source(), tmp_path / "whole.gguf").read_bytes()
    header = GgufFile.open(tmp_path / "whole.gguf").tensors["token_embd.weight"].begin
    for length in [*range(0, 400, 7), *range(400, header, 401)]:
        (tmp_path / "cut.gguf").write_bytes(whole[:length])
        refused(tmp_path / "cut.gguf", "take|fits|leaves|length|number")


def test_truncated_data_is_refused_with_the_offset_of_its_tensor(tmp_path: Path) -> None:
    path = write_gguf(tiny_source(), tmp_path / "x.gguf")
    last = max(GgufFile.open(path).tensors.values(), key=lambda tensor: tensor.begin)
    path.write_bytes(path.read_bytes()[: last.begin + last.nbytes - 1])
    refused(path, re.escape(f"tensor {last.name} of {last.nbytes} bytes"))
    with pytest.raises(CheckpointError, match=f"at byte {last.begin}"):
        GgufFile.open(path)


@pytest.mark.parametrize("count", [HUGE, 1 << 20, 2])
def test_a_count_of_tensors_beyond_the_file_is_refused(tmp_path: Path, count: int) -> None:
    refused(written(tmp_path / "x.gguf", tensor_count=count), "the number of tensors")


@pytest.mark.parametrize("count", [HUGE, 1 << 20, 3])
def test_a_count_of_keys_beyond_the_file_is_refused(tmp_path: Path, count: int) -> None:
    refused(written(tmp_path / "x.gguf", key_count=count), "metadata key")


def test_a_string_longer_than_the_file_is_refused(tmp_path: Path) -> None:
    bad = key("a", STRING, struct.pack("<Q", HUGE))
    refused(written(tmp_path / "x.gguf", keys=(bad,)), "length of metadata key 'a' is")


@pytest.mark.parametrize("element", [UINT32, STRING])
def test_an_array_longer_than_the_file_is_refused(tmp_path: Path, element: int) -> None:
    bad = key("a", ARRAY, struct.pack("<IQ", element, HUGE))
    refused(written(tmp_path / "x.gguf", keys=(bad,)), "length of metadata key 'a' is")


def test_an_array_of_arrays_is_refused(tmp_path: Path) -> None:
    bad = key("a", ARRAY, struct.pack("<IQ", ARRAY, 1))
    refused(written(tmp_path / "x.gguf", keys=(bad,), data=b"\0" * 64), "unknown value type 9")


def test_an_unknown_value_type_is_refused(tmp_path: Path) -> None:
    refused(written(tmp_path / "x.gguf", keys=(key("a", 99, b"\0" * 8),)), "unknown value type 99")


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    bad = key("a", STRING, struct.pack("<Q", 2) + b"\xff\xfe")
    refused(written(tmp_path / "x.gguf", keys=(bad,)), "not UTF-8")


def test_a_key_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    one = key("a", UINT32, struct.pack("<I", 1))
    refused(written(tmp_path / "x.gguf", keys=(one, one)), "'a' is there twice")


def test_a_tensor_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    one = tensor("a", [8])
    refused(written(tmp_path / "x.gguf", tensors=(one, one), data=b"\0" * 32), "a is there twice")


@pytest.mark.parametrize("sides", [[HUGE, HUGE], [1 << 40], [9]])
def test_a_shape_beyond_the_file_is_refused(tmp_path: Path, sides: list[int]) -> None:
    path = written(tmp_path / "x.gguf", tensors=(tensor("a", sides),), data=b"\0" * 32)
    refused(path, "tensor a of .* leaves the file")


@pytest.mark.parametrize("offset", [HUGE, 64, 3])
def test_an_offset_beyond_the_file_or_off_its_alignment_is_refused(tmp_path: Path, offset: int) -> None:
    bad = tensor("a", [8], offset=offset)
    refused(written(tmp_path / "x.gguf", tensors=(bad,), data=b"\0" * 32), "misaligned or leaves the file")


@pytest.mark.parametrize("sides", [[], [1] * 5])
def test_an_impossible_rank_is_refused(tmp_path: Path, sides: list[int]) -> None:
    path = written(tmp_path / "x.gguf", tensors=(tensor("a", sides),), data=b"\0" * 32)
    refused(path, f"has {len(sides)} dimensions")


@pytest.mark.parametrize("sides", [[33], [0], [32, 0]])
def test_a_shape_that_blocks_do_not_divide_is_refused(tmp_path: Path, sides: list[int]) -> None:
    path = written(tmp_path / "x.gguf", tensors=(tensor("a", sides, Q8_0),), data=b"\0" * 128)
    refused(path, "is not made of Q8_0 blocks")


def test_an_unknown_tensor_type_is_refused(tmp_path: Path) -> None:
    refused(
        written(tmp_path / "x.gguf", tensors=(tensor("a", [8], 77),), data=b"\0" * 32), "unknown type 77"
    )


@pytest.mark.parametrize("alignment", [0, 3])
def test_an_impossible_alignment_is_refused(tmp_path: Path, alignment: int) -> None:
    bad = key("general.alignment", UINT32, struct.pack("<I", alignment))
    refused(written(tmp_path / "x.gguf", keys=(bad,)), "general.alignment")


def test_a_file_that_shrank_after_it_was_opened_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "x.gguf", tensors=(tensor("a", [8, 4]),), data=b"\0" * 128)
    file = GgufFile.open(path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="tensor a ends early"):
        file.read_rows("a", 0, 4)


READ_THROUGH = """
import sys
from pathlib import Path
from exporter.checkpoints.gguf.file import GgufFile

def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))

file = GgufFile.open(Path(sys.argv[1]))
file.read_rows("a", 0, 64)
before = peak()
for start in range(0, 16384, 64):
    file.read_rows("a", start, start + 64)
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_reading_256_megabytes_leaves_none_of_them_resident(tmp_path: Path) -> None:
    path = written(tmp_path / "x.gguf", tensors=(tensor("a", [4096, 16384]),), data=b"\0" * 32)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size + (256 << 20))
    grown = subprocess.run(
        [sys.executable, "-c", READ_THROUGH, str(path)], capture_output=True, text=True, check=True
    )
    assert int(grown.stdout) < 8 << 10  # KiB
