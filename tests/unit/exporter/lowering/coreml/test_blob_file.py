from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from exporter.errors import LoweringError
from exporter.lowering.coreml.blob_file import Blob, BlobWriter, Element, file_pieces, one_piece
from exporter.lowering.coreml.quiet import quietly

with quietly():
    from coremltools.libmilstoragepython import _BlobStorageReader, _BlobStorageWriter

HALVES = np.arange(5, dtype=np.float16)
CODES = np.arange(-8, 8, dtype=np.int8)
NIBBLES = ((CODES[0::2] & 15) | (CODES[1::2] << 4)).view(np.uint8)


def unheard(done: int) -> None:
    """A listener for progress that does nothing."""


def write(path: Path) -> list[int]:
    """A file of one payload of each kind the lowering uses; offsets of their records."""
    file = BlobWriter()
    offsets = [
        file.add(Blob("halves", Element.FLOAT16, HALVES.nbytes, one_piece(HALVES.tobytes()))),
        file.add(Blob("int8", Element.INT8, CODES.nbytes, one_piece(CODES.tobytes()))),
        file.add(Blob("int4", Element.INT4, NIBBLES.nbytes, one_piece(NIBBLES.tobytes()))),
    ]
    file.write(path, unheard)
    assert path.stat().st_size == file.nbytes
    return offsets


def test_apples_reader_reads_every_payload(tmp_path: Path) -> None:
    halves, int8, int4 = write(tmp_path / "weight.bin")
    reader = _BlobStorageReader(str(tmp_path / "weight.bin"))
    np.testing.assert_array_equal(
        np.array(reader.read_fp16_data(halves), np.uint16), HALVES.view(np.uint16)
    )
    np.testing.assert_array_equal(reader.read_int8_data(int8), CODES)
    np.testing.assert_array_equal(reader.read_int4_data(int4), CODES)


def test_apples_writer_gives_the_same_bytes(tmp_path: Path) -> None:
    offsets = write(tmp_path / "ours.bin")
    writer = _BlobStorageWriter(str(tmp_path / "theirs.bin"))
    theirs = [
        writer.write_fp16_data(HALVES.view(np.uint16)),
        writer.write_int8_data(CODES),
        writer.write_int4_data(CODES),
    ]
    del writer
    assert offsets == theirs
    assert (tmp_path / "ours.bin").read_bytes() == (tmp_path / "theirs.bin").read_bytes()


def test_a_number_of_nibbles_that_fills_no_byte_is_padded_as_apple_pads_it(tmp_path: Path) -> None:
    file = BlobWriter()
    nibbles = bytes([*NIBBLES[:2], int(CODES[4]) & 15])
    offset = file.add(Blob("five", Element.INT4, 3, one_piece(nibbles), padding_bits=4))
    file.write(tmp_path / "ours.bin", unheard)
    writer = _BlobStorageWriter(str(tmp_path / "theirs.bin"))
    assert offset == writer.write_int4_data(CODES[:5])
    del writer
    assert (tmp_path / "ours.bin").read_bytes() == (tmp_path / "theirs.bin").read_bytes()
    np.testing.assert_array_equal(
        _BlobStorageReader(str(tmp_path / "ours.bin")).read_int4_data(offset), CODES[:5]
    )


def test_records_and_data_lie_on_64_bytes(tmp_path: Path) -> None:
    offsets = write(tmp_path / "weight.bin")
    raw = (tmp_path / "weight.bin").read_bytes()
    assert struct.unpack_from("<II", raw) == (3, 2)
    assert [offset % 64 for offset in offsets] == [0, 0, 0]
    assert {struct.unpack_from("<IIQQQ", raw, offset)[3] - offset for offset in offsets} == {64}


def test_a_payload_of_another_length_than_announced_is_an_error(tmp_path: Path) -> None:
    file = BlobWriter()
    file.add(Blob("gain", Element.FLOAT16, 12, one_piece(HALVES.tobytes())))
    with pytest.raises(LoweringError, match="gain has 10 bytes where 12 were laid out"):
        file.write(tmp_path / "weight.bin", unheard)


def test_progress_is_told_as_pieces_are_written(tmp_path: Path) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"ab"
        yield b"cd"

    file, told = BlobWriter(), list[int]()
    file.add(Blob("codes", Element.INT8, 4, pieces))
    file.write(tmp_path / "weight.bin", told.append)
    assert told == [130, 132]


def test_another_files_bytes_come_in_pieces(tmp_path: Path) -> None:
    data = bytes(range(256)) * 8192  # 2 MiB
    (tmp_path / "source").write_bytes(data)
    pieces = list(file_pieces(tmp_path / "source", 7, len(data) - 9))
    assert b"".join(pieces) == data[7:-2]
    assert max(map(len, pieces)) <= 1 << 20
