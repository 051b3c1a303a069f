"""The pictures of samples/images are the ones that are computed, pixel by pixel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.sample_images import DIRECTORY, write_samples
from tests.pictures import SAMPLES


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_shows_what_is_computed(name: str) -> None:
    with Image.open(DIRECTORY / name) as picture:
        assert picture.mode == "RGB"
        assert np.array_equal(np.asarray(picture), SAMPLES[name]())


def test_every_sample_is_computed(tmp_path: Path) -> None:
    write_samples(tmp_path)
    written = {each.name for each in tmp_path.iterdir()}
    assert written == {each.name for each in DIRECTORY.glob("*.png")} == set(SAMPLES)
