"""Writes the files of samples/sounds: `python -m benchmarks.sample_sounds`.

Not about what is heard in them (`exporter.validation.sound_samples`, which says it in numbers), nor about
any measurement.
"""

from __future__ import annotations

from pathlib import Path

import soundfile

from benchmarks.structure import ROOT
from exporter.validation.sound_samples import RATE, SOUNDS

DIRECTORY = ROOT / "samples" / "sounds"


def write_samples(directory: Path) -> None:
    for name, make in SOUNDS.items():
        soundfile.write(directory / f"{name}.wav", make(), RATE, subtype="PCM_16")


if __name__ == "__main__":
    write_samples(DIRECTORY)
