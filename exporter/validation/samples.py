"""`Samples`: pictures or sounds that a release is tried with, prepared.

Not about which ones (`sample_pictures`, `sample_sounds`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from runtimes.images.processing import ImageMarks
from runtimes.multimodal.passed_files import Prepared
from runtimes.multimodal.session import RowKind
from runtimes.sounds.processing import SoundMarks

Marks = ImageMarks | SoundMarks


@dataclass(frozen=True)
class TriedSample:
    """name: what a report calls it."""

    name: str
    prepared: Prepared


@dataclass(frozen=True)
class Samples:
    """marks: of what is sampled, and of what the release takes beside it and no sample is of. soft_tokens:
    of one, at most, as the release says it. not_tried: why others were not, a sentence each."""

    tried: tuple[TriedSample, ...]
    marks: Mapping[RowKind, Marks]
    soft_tokens: int
    not_tried: tuple[str, ...]
