"""Sounds that a release is tried with: those of `sound_samples`, as its own description prepares them.

Not about prompts (`placed_prompts`) or judging (`tower_check`).
"""

from __future__ import annotations

from exporter.planning.media_room import SHORTEST_SOUND
from exporter.validation.findings import ReleaseUnderTest
from exporter.validation.samples import Marks, Samples, TriedSample
from exporter.validation.sound_samples import SOUNDS
from runtimes.images.processing import read_processing
from runtimes.multimodal.session import RowKind
from runtimes.sounds.preparing import prepared_sound
from runtimes.sounds.processing import read_sound_processing


def sample_sounds(release: ReleaseUnderTest) -> Samples:
    """All of `SOUNDS`, each as far as the release takes one so long. A rate other than theirs only plays
    them faster or slower, of which no more is heard than the context has room for."""
    processing = read_sound_processing(release.directory)
    longest = int(processing.longest * processing.sampling_rate)
    most = round(SHORTEST_SOUND * processing.sampling_rate)
    tried, not_tried = [], []
    for name, make in SOUNDS.items():
        samples = make()[:most]
        if len(samples) > longest:
            not_tried.append(f"Of {name} only {longest:,} samples were tried: no sound may be longer.")
        tried.append(TriedSample(name, prepared_sound(samples[:longest], processing)))
    marks: dict[RowKind, Marks] = {"sound": processing.marks}
    if any(each.component == "vision" for each in release.encoders):
        marks["image"] = read_processing(release.directory).marks
    return Samples(tuple(tried), marks, processing.soft_tokens, tuple(not_tried))
