"""Pictures made of numbers: what tests of image towers and their processing are fed, and samples/images.

uint8 [height, width, 3] each, the same on every machine. Not about files (`benchmarks.sample_images` writes
three of them), nor about what is made of a picture (`runtimes.images`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

PixelArray = NDArray[np.uint8]  # [height, width, rgb]

RED, GREEN, BLUE, YELLOW = (220, 30, 30), (30, 160, 60), (40, 60, 210), (240, 210, 40)
WHITE, BLACK = (255, 255, 255), (20, 20, 20)
DIGITS = (
    "01110 10001 10011 10101 11001 10001 01110",
    "00100 01100 00100 00100 00100 00100 01110",
    "01110 10001 00001 00010 00100 01000 11111",
    "11111 00010 00100 00010 00001 10001 01110",
    "00010 00110 01010 10010 11111 00010 00010",
    "11111 10000 11110 00001 00001 10001 01110",
    "00110 01000 10000 11110 10001 10001 01110",
    "11111 00001 00010 00100 01000 01000 01000",
    "01110 10001 10001 01110 10001 10001 01110",
    "01110 10001 10001 01111 00001 00010 01100",
)  # seven rows of five each


def ramps(width: int = 480, height: int = 336) -> PixelArray:
    """Red grows to the right, green downwards, blue along the diagonal. 480 x 336 is 70 squares of 48."""
    y, x = np.mgrid[:height, :width]
    across, down = x / max(width - 1, 1), y / max(height - 1, 1)
    return _bytes(np.stack([across, down, (across + down) / 2], axis=-1))


def smooth(width: int = 640, height: int = 480) -> PixelArray:
    """Slow waves, on which resizers agree; 640 x 480 fits no budget and is resized."""
    y, x = np.mgrid[:height, :width]
    across, down = x / width, y / height
    waves = [np.sin(2 * np.pi * across), np.cos(2 * np.pi * down), np.sin(np.pi * (across + down))]
    return _bytes((np.stack(waves, axis=-1) + 1) / 2)


def quadrants(width: int = 448, height: int = 448) -> PixelArray:
    """Red, green above blue, yellow."""
    picture = np.empty((height, width, 3), np.uint8)
    top, left = height // 2, width // 2
    picture[:top, :left], picture[:top, left:] = RED, GREEN
    picture[top:, :left], picture[top:, left:] = BLUE, YELLOW
    return picture


def noise(width: int = 300, height: int = 200, seed: int = 7) -> PixelArray:
    """Every byte by chance: where two resizers differ, they differ here."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def plain(colour: tuple[int, int, int], width: int = 96, height: int = 96) -> PixelArray:
    """One colour."""
    return np.full((height, width, 3), colour, np.uint8)


def digits(width: int = 640, height: int = 480) -> PixelArray:
    """7, 3 and 1 in black above a red disc, a green square and a blue triangle, on white."""
    picture = plain(WHITE, width, height)
    y, x = np.mgrid[:height, :width]
    third, radius = width / 3, min(width / 9, height / 6)
    for column, digit in enumerate((7, 3, 1)):
        size = int(2 * radius) // 7
        shown = np.kron(_dots(digit), np.ones((size, size), bool))
        top, left = height // 10, int((column + 0.5) * third) - shown.shape[1] // 2
        picture[top : top + shown.shape[0], left : left + shown.shape[1]][shown] = BLACK
    across, down = [x - (column + 0.5) * third for column in range(3)], y - 0.72 * height
    picture[across[0] ** 2 + down**2 < radius**2] = RED
    picture[(abs(across[1]) < radius) & (abs(down) < radius)] = GREEN
    picture[(abs(down) < radius) & (2 * abs(across[2]) < down + radius)] = BLUE
    return picture


SAMPLES: Mapping[str, Callable[[], PixelArray]] = {
    "quadrants.png": quadrants,
    "ramps.png": ramps,
    "digits.png": digits,
}
"""The pictures of samples/images, by file name."""


def _dots(digit: int) -> NDArray[np.bool_]:
    return np.array([[dot == "1" for dot in row] for row in DIGITS[digit].split()])


def _bytes(shares: NDArray[np.float64]) -> PixelArray:
    return np.round(255 * shares).astype(np.uint8)
