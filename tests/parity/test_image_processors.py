"""What we make of a picture against transformers' processors, bit by bit.

Matrix: Gemma 3, Gemma 4 and Gemma 4 12B × generated pictures × budgets; and files of every kind against
`load_image`. The 12B's processor needs torchvision: of it the one step that Gemma 4's has not,
`patches_merge`, is taken out of its module. Not about towers.
"""

from __future__ import annotations

import ast
import math
import struct
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from transformers.image_utils import load_image
from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil
from transformers.models.gemma4.image_processing_pil_gemma4 import Gemma4ImageProcessorPil

from runtimes.images.picture import read_picture
from runtimes.images.prepared import PreparedImage
from runtimes.images.preparing import prepared_image
from tests.image_processing import HALVES, patching, squashing
from tests.pictures import PixelArray, digits, noise, plain, quadrants, ramps, smooth

PICTURES: dict[str, PixelArray] = {
    "ramps that fit": ramps(),
    "smooth": smooth(),
    "quadrants": quadrants(),
    "digits": digits(),
    "noise": noise(),
    "wide": noise(2000, 60),
    "tall": noise(60, 2000),
    "one square": ramps(48, 48),
    "one pixel": plain((9, 80, 200), 1, 1),
    "a line": noise(20_000, 1),
}
ORDERS = [*((name, 280) for name in PICTURES), ("smooth", 70), ("wide", 140), ("smooth", 1120)]


@pytest.mark.parametrize("name", ["smooth", "noise", "wide", "one pixel", "a line"])
def test_gemma_3_squashes_as_transformers(name: str) -> None:
    processor = Gemma3ImageProcessorPil(
        size={"height": 896, "width": 896}, image_mean=list(HALVES), image_std=list(HALVES)
    )
    theirs = processor(Image.fromarray(PICTURES[name]), return_tensors="np")["pixel_values"]
    ours = prepared_image(PICTURES[name], squashing())
    assert ours.pixels.dtype == theirs.dtype
    assert np.array_equal(ours.pixels, theirs)


def of_gemma_4(pixels: PixelArray, budget: int) -> PreparedImage:
    """transformers' patches, those of padding left out."""
    found = Gemma4ImageProcessorPil(max_soft_tokens=budget)(Image.fromarray(pixels), return_tensors="np")
    rows = int(found["num_soft_tokens_per_image"][0])
    positions = found["image_position_ids"]
    assert (positions[:, 9 * rows :] == -1).all()
    return PreparedImage(found["pixel_values"][:, : 9 * rows], positions[:, : 9 * rows], rows)


@pytest.mark.parametrize(("name", "budget"), ORDERS)
def test_gemma_4_scales_and_cuts_as_transformers(name: str, budget: int) -> None:
    ours, theirs = prepared_image(PICTURES[name], patching(budget)), of_gemma_4(PICTURES[name], budget)
    assert ours.soft_tokens == theirs.soft_tokens
    assert ours.pixels.dtype == theirs.pixels.dtype
    assert np.array_equal(ours.pixels, theirs.pixels)
    assert ours.positions is not None
    assert theirs.positions is not None
    assert np.array_equal(ours.positions, theirs.positions)


@cache
def patches_merge() -> Callable[..., tuple[torch.Tensor, torch.Tensor]]:
    """The function of transformers' own text, whose module does not load without torchvision."""
    place = Path(transformers.__file__).parent / "models/gemma4_unified/image_processing_gemma4_unified.py"
    text = place.read_text(encoding="utf-8")
    (found,) = (
        node
        for node in ast.parse(text).body
        if isinstance(node, ast.FunctionDef) and node.name == "patches_merge"
    )
    names: dict[str, Any] = {"torch": torch, "math": math}
    exec(compile(ast.Module([found], []), str(place), "exec"), names)
    merge: Callable[..., tuple[torch.Tensor, torch.Tensor]] = names["patches_merge"]
    return merge


@pytest.mark.parametrize("name", ["ramps that fit", "noise", "wide", "one pixel"])
def test_the_12b_merges_squares_as_transformers(name: str) -> None:
    patches = of_gemma_4(PICTURES[name], 280)
    given = torch.from_numpy(patches.pixels), torch.from_numpy(patches.positions)
    pixels, positions = patches_merge()(*given, patches.soft_tokens)
    ours = prepared_image(PICTURES[name], patching(280, merged=True))
    assert ours.soft_tokens == patches.soft_tokens
    assert np.array_equal(ours.pixels, pixels.numpy())
    assert ours.positions is not None
    assert np.array_equal(ours.positions, positions.numpy())


def turned(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 5
    Image.fromarray(noise(40, 24)).save(path, "PNG", exif=exif)


def with_alpha(path: Path) -> None:
    Image.fromarray(np.dstack([noise(40, 24), noise(40, 24, 8)[..., :1]])).save(path, "PNG")


def printed(path: Path) -> None:
    Image.fromarray(np.dstack([noise(40, 24), noise(40, 24, 8)[..., :1]]), "CMYK").save(path, "JPEG")


def animated(path: Path) -> None:
    frames = [Image.fromarray(noise(40, 24, seed)) for seed in (1, 2)]
    frames[0].save(path, "GIF", save_all=True, append_images=frames[1:])


def of_16_bits_a_colour(path: Path) -> None:
    values = np.random.default_rng(3).integers(0, 65536, (24, 40, 3)).astype(">u2")
    lines = b"".join(b"\0" + line.tobytes() for line in values)
    header = struct.pack(">IIBBBBB", 40, 24, 16, 2, 0, 0, 0)
    pieces = [b"IHDR" + header, b"IDAT" + zlib.compress(lines), b"IEND"]
    chunks = (
        struct.pack(">I", len(each) - 4) + each + struct.pack(">I", zlib.crc32(each)) for each in pieces
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


@pytest.mark.parametrize(
    "write", [turned, with_alpha, printed, animated, of_16_bits_a_colour], ids=lambda each: each.__name__
)
def test_a_file_is_read_as_load_image_reads_it(write: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "a.picture"
    write(path)
    assert np.array_equal(read_picture(path).pixels, np.asarray(load_image(str(path))))
