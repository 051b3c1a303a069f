"""Writes the pictures of samples/images: `python -m benchmarks.sample_images`.

Not about what they show (`tests.pictures`, which says it in numbers), nor about any measurement.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from benchmarks.structure import ROOT
from tests.pictures import SAMPLES

DIRECTORY = ROOT / "samples" / "images"


def write_samples(directory: Path) -> None:
    for name, make in SAMPLES.items():
        Image.fromarray(make()).save(directory / name, optimize=True)


if __name__ == "__main__":
    write_samples(DIRECTORY)
