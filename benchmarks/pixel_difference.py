"""How far onnxruntime-genai's pixels are from transformers' on pictures made of numbers.

    python -m benchmarks.pixel_difference

Ours are transformers' to the last bit (tests/parity/test_image_processors.py), so that a client is held
against ours. In shares of a pixel's whole range. LiteRT-LM's engine hands out no pixels. Not about what a
tower makes of them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from exporter.lowering.interface import ImageOrder
from runtimes.images.preparing import prepared_image
from runtimes.images.processing import ImageProcessing
from tests.image_processing import patching, squashing
from tests.pictures import PixelArray, digits, noise, quadrants, ramps, smooth
from tests.seen_pictures import MARKS
from tests.tiny_image_stores import write_tiny_multimodal
from tests.tiny_towers import TinyTower, tiny_patch_tower, tiny_siglip
from tests.unit.exporter.lowering.onnx.seeing_releases import seeing_release

PICTURES: Mapping[str, Callable[[], PixelArray]] = {
    "ramps": ramps,
    "quadrants": quadrants,
    "smooth": smooth,
    "digits": digits,
    "noise": noise,
    "a long one": lambda: noise(2000, 60),
    "a tiny one": lambda: noise(40, 30),
}
TOWERS: Mapping[str, tuple[Callable[[], TinyTower], ImageProcessing, float]] = {
    # By kind: a tower, what is done to pictures for it as published, and how far values reach.
    "Gemma 3": (lambda: tiny_siglip(896, 256), squashing(896, 256, MARKS), 2.0),
    "Gemma 4 E2B": (tiny_patch_tower, patching(280, marks=MARKS), 1.0),
}
MARKERS = {"Gemma 3": "<start_of_image>", "Gemma 4 E2B": "<|image|>"}
HEAD = "| pictures for | picture | size | largest difference | mean |\n" + "|---" * 5 + "|"


def differences(work: Path) -> Iterator[str]:
    """A row for each kind and picture, in HEAD's columns. work: existing directory."""
    for kind, (tower, processing, reach) in TOWERS.items():
        directory = work / kind.replace(" ", "-")
        checkpoint = write_tiny_multimodal(directory / "checkpoint", kind, tower())
        order = ImageOrder(processing)
        release = seeing_release(directory, kind, context=640, tokenizer=checkpoint, images=order)
        theirs = _processor(release.directory / "onnx")
        for name, make in PICTURES.items():
            path = directory / "picture.png"
            Image.fromarray(make()).save(path)
            ours = prepared_image(make(), processing).pixels
            apart = np.abs(theirs(MARKERS[kind], path) - ours) / reach
            height, width, _ = make().shape
            yield f"| {kind} | {name} | {width} x {height} | {apart.max():.1e} | {apart.mean():.1e} |"


def _processor(folder: Path) -> Callable[[str, Path], np.ndarray[Any, np.dtype[np.float32]]]:
    """What genai makes of a picture."""
    import onnxruntime_genai as genai

    processor = genai.Model(str(folder)).create_multimodal_processor()

    def pixels(marker: str, path: Path) -> np.ndarray[Any, np.dtype[np.float32]]:
        inputs = processor(marker, images=genai.Images.open(str(path)))
        found: np.ndarray[Any, np.dtype[np.float32]] = inputs["pixel_values"].as_numpy()
        return found

    return pixels


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        print(HEAD, *differences(Path(scratch)), sep="\n", flush=True)
