"""A file's picture as transformers reads it; what is left out is said, and what is none is refused."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from runtimes.errors import PictureError, RuntimeUnavailable
from runtimes.images.picture import read_picture
from tests.pictures import BLUE, RED, PixelArray, noise, plain, quadrants

SMALL = noise(40, 24)


def written(path: Path, pixels: PixelArray | Image.Image = SMALL, **options: Any) -> Path:
    picture = Image.fromarray(pixels) if isinstance(pixels, np.ndarray) else pixels
    picture.save(path, **options)
    return path


def refused(path: Path) -> str:
    with pytest.raises(PictureError) as caught:
        read_picture(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert ";" in str(caught.value)  # and what to do next
    return str(caught.value)


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tiff", "a.gif"])
def test_a_picture_is_read_in_three_colours(name: str, tmp_path: Path) -> None:
    pixels = quadrants(40, 24)
    found = read_picture(written(tmp_path / name, pixels))
    assert np.array_equal(found.pixels, pixels)
    assert found.remarks == ()


@pytest.mark.parametrize(("name", "near"), [("a.jpg", 12), ("a.webp", 40)])
def test_a_lossy_picture_is_read_nearly(name: str, near: int, tmp_path: Path) -> None:
    pixels = quadrants(64, 64)
    found = read_picture(written(tmp_path / name, pixels, quality=95))
    assert np.abs(found.pixels[8:24, 8:24].astype(int) - RED).max() < near


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 3), (20_000, 1)])
def test_any_size_is_read(width: int, height: int, tmp_path: Path) -> None:
    pixels = noise(width, height)
    assert np.array_equal(read_picture(written(tmp_path / "a.png", pixels)).pixels, pixels)


def test_a_picture_is_turned_as_its_exif_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter to the right
    path = written(tmp_path / "a.png", SMALL, exif=exif)
    assert np.array_equal(read_picture(path).pixels, np.rot90(SMALL, -1))


def test_a_palette_and_grey_are_converted(tmp_path: Path) -> None:
    picture = Image.fromarray(quadrants(40, 24))
    palette = read_picture(written(tmp_path / "p.png", picture.quantize(8)))
    assert np.abs(palette.pixels.astype(int) - quadrants(40, 24)).max() < 8
    grey = read_picture(written(tmp_path / "l.png", picture.convert("L"))).pixels
    assert np.array_equal(grey[..., 0], grey[..., 2])


def test_an_alpha_channel_is_dropped_with_a_remark(tmp_path: Path) -> None:
    seen = np.dstack([SMALL, np.zeros(SMALL.shape[:2], np.uint8)])
    found = read_picture(written(tmp_path / "a.png", seen))
    assert np.array_equal(found.pixels, SMALL)
    assert "transparency, which is left out" in found.remarks[0]


def test_a_colour_called_a_is_no_transparency(tmp_path: Path) -> None:
    assert read_picture(written(tmp_path / "a.tiff", Image.fromarray(SMALL).convert("LAB"))).remarks == ()


def test_a_transparent_colour_of_a_palette_is_said(tmp_path: Path) -> None:
    picture = Image.fromarray(plain(RED)).quantize(4)
    found = read_picture(written(tmp_path / "a.png", picture, transparency=0))
    assert "transparency" in found.remarks[0]
    assert tuple(found.pixels[0, 0]) == RED


def test_the_first_frame_of_several_is_taken_with_a_remark(tmp_path: Path) -> None:
    first, second = (Image.fromarray(plain(colour)) for colour in (RED, BLUE))
    for name in ("a.gif", "a.png", "a.tiff"):
        found = read_picture(written(tmp_path / name, first, save_all=True, append_images=[second]))
        assert tuple(found.pixels[0, 0]) == RED
        assert "several frames" in found.remarks[0]


def test_the_small_view_a_phone_puts_behind_a_jpeg_is_not_meant(tmp_path: Path) -> None:
    first, second = Image.fromarray(plain(RED)), Image.fromarray(plain(BLUE, 32, 32))
    path = written(tmp_path / "a.jpg", first, format="MPO", save_all=True, append_images=[second])
    found = read_picture(path)
    assert found.pixels.shape == (96, 96, 3)
    assert found.remarks == ()


@pytest.mark.parametrize("size", [(2000, 1), (1, 2000)])
def test_what_scaling_leaves_little_of_is_read_with_a_remark(size: tuple[int, int], tmp_path: Path) -> None:
    found = read_picture(written(tmp_path / "a.png", Image.new("RGB", size, "red")))
    assert found.pixels.shape == (size[1], size[0], 3)
    assert "little of it is left" in found.remarks[0]


def test_printing_colours_are_converted_with_a_remark(tmp_path: Path) -> None:
    found = read_picture(written(tmp_path / "a.jpg", Image.fromarray(plain(RED)).convert("CMYK")))
    assert np.abs(found.pixels[0, 0].astype(int) - RED).max() < 8
    assert "CMYK" in found.remarks[0]


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.float32])
def test_grey_of_more_than_8_bits_is_refused_and_not_cut_off(kind: type, tmp_path: Path) -> None:
    picture = Image.fromarray(np.full((4, 4), 300, kind))
    assert "more than 8 bits" in refused(written(tmp_path / "a.tiff", picture))


def no_picture(path: Path) -> None:
    path.write_text("a poem")


def empty(path: Path) -> None:
    path.touch()


def truncated(path: Path) -> None:
    written(path)
    path.write_bytes(path.read_bytes()[:-100])


def truncated_jpeg(path: Path) -> None:
    content = BytesIO()
    Image.fromarray(SMALL).save(content, "JPEG")
    path.write_bytes(content.getvalue()[:-200])


def of_no_width(path: Path) -> None:
    path.write_bytes(declared(0, 4))


def declared(width: int, height: int) -> bytes:
    """A PNG that says it has so many pixels, and has none."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"")
    pieces = [
        struct.pack(">I", len(each) - 4) + each + struct.pack(">I", zlib.crc32(each))
        for each in (header, data, b"IEND")
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(pieces)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (no_picture, "is no PNG, JPEG"),
        (empty, "is no PNG, JPEG"),
        (truncated, "cannot be read to its end"),
        (truncated_jpeg, "cannot be read to its end"),
        (of_no_width, "is no PNG|cannot be read to its end"),
        (Path.mkdir, "is not a plain file"),
        (os.mkfifo, "is not a plain file"),
        (lambda path: path.write_bytes(declared(60_000, 60_000)), "more than 52 million pixels"),
        (lambda path: path.write_bytes(declared(8_000, 7_000)), "more than 52 million pixels"),
        (lambda path: path.symlink_to("nowhere"), "no such file"),
    ],
)
def test_what_is_no_whole_picture_is_refused(
    make: Callable[[Path], object], says: str, tmp_path: Path
) -> None:
    make(tmp_path / "a.png")
    assert any(each in refused(tmp_path / "a.png") for each in says.split("|"))


def test_a_large_picture_is_read_without_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", SMALL.size // 3 - 1)
    assert read_picture(written(tmp_path / "a.png")).pixels.shape == SMALL.shape
    assert not recwarn.list


def test_a_program_is_not_started_for_postscript(tmp_path: Path) -> None:
    path = written(tmp_path / "a.eps")
    path.rename(tmp_path / "a.png")
    assert "is no PNG, JPEG" in refused(tmp_path / "a.png")


def test_without_pillow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtimes.images.picture.find_spec", lambda name: None)
    with pytest.raises(RuntimeUnavailable, match=r"Pillow.*gemma-export\[run\]"):
        read_picture(written(tmp_path / "a.png"))
