"""`Picture`: a file's picture in red, green and blue, read as transformers reads a file.

Turned as its EXIF says, then converted by Pillow: an alpha channel is dropped, not laid over white; colours
are not managed. What Pillow would convert to something else than was meant is refused. Not about scaling
(`preparing`).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from runtimes.errors import PictureError, RuntimeUnavailable
from runtimes.excerpt import plain_excerpt
from runtimes.strict_json import StrictJsonError, read_plain_file

if TYPE_CHECKING:
    from PIL.Image import Image

# Not all that Pillow opens: some of it starts programs.
PICTURE_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
NAMES = "PNG, JPEG, WebP, GIF, BMP or TIFF"
LARGEST_PICTURE = 256 << 20  # bytes
# Half a GB while it is read, whatever a small file says of itself; a phone's largest are of 50 million.
MOST_PIXELS = 52_000_000
LONGEST_ASPECT = 64  # a budget of 70 soft tokens has no more squares in a row
SEEN_THROUGH = ("LA", "La", "PA", "RGBA", "RGBa")  # an A in LAB is a colour
CLIPPED = ("I", "F")  # and I;16: one channel of more than 8 bits


@dataclass(frozen=True)
class Picture:
    """pixels: [height, width, rgb]. remarks: what was left out of the file, a sentence each."""

    pixels: NDArray[np.uint8]
    remarks: tuple[str, ...]


def read_picture(path: Path) -> Picture:
    """Raises PictureError for what is no whole picture, RuntimeUnavailable without Pillow."""
    if find_spec("PIL") is None:
        raise RuntimeUnavailable("Pillow, which reads pictures, is missing; install gemma-export[run]")
    import PIL.Image

    content = _content(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what it takes nonetheless
            with PIL.Image.open(BytesIO(content), formats=PICTURE_FORMATS) as opened:
                return _converted(path, opened)
    except PictureError:
        raise
    except PIL.UnidentifiedImageError as error:
        raise PictureError(f"{path}: is no {NAMES}; save the picture as one of these") from error
    except PIL.Image.DecompressionBombError as error:
        raise _too_many(path) from error
    except Exception as error:  # decoders raise what they meet in damaged bytes: struct.error, KeyError ...
        why = plain_excerpt(error) or type(error).__name__
        raise PictureError(
            f"{path}: cannot be read to its end ({why}); copy it again, or save it as PNG"
        ) from error


def _content(path: Path) -> bytes:
    try:
        return read_plain_file(path, LARGEST_PICTURE)
    except FileNotFoundError as error:
        raise PictureError(f"{path}: no such file; check the path") from error
    except OSError as error:
        raise PictureError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
    except StrictJsonError as error:
        raise PictureError(f"{path}: {error}; give a picture of {NAMES}") from error


def _converted(path: Path, opened: Image) -> Picture:
    import PIL.ImageOps

    width, height = opened.size
    if width * height > MOST_PIXELS:
        raise _too_many(path)
    if opened.mode in CLIPPED or opened.mode.startswith("I;16"):
        raise PictureError(
            f"{path}: is grey of more than 8 bits, which Pillow cuts off at 255; save it with 8 bits"
        )
    remarks = tuple(f"{path}: {each}." for each in _left_out(opened))
    PIL.ImageOps.exif_transpose(opened, in_place=True)
    return Picture(np.asarray(opened if opened.mode == "RGB" else opened.convert("RGB")), remarks)


def _left_out(opened: Image) -> Iterator[str]:
    """And what scaling leaves out. Before it is converted, which goes on to no other frame."""
    # Phones put a second, small view behind a JPEG; nobody means that one.
    if opened.format != "MPO" and getattr(opened, "is_animated", False):
        yield "has several frames, of which the model sees the first"
    if opened.mode in SEEN_THROUGH or "transparency" in opened.info:
        yield "has transparency, which is left out: the model sees the colours beneath it"
    width, height = opened.size
    if max(width, height) > LONGEST_ASPECT * min(width, height):
        yield f"is {width:,} by {height:,} pixels: scaled to what the model takes, little of it is left"
    if opened.mode == "CMYK":
        yield "is in printing colours (CMYK), converted without their profile"


def _too_many(path: Path) -> PictureError:
    return PictureError(
        f"{path}: has more than {MOST_PIXELS // 10**6} million pixels; scale it down, models see 3 million"
    )
