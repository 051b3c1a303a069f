"""Pictures that a release is tried with: those of `samples/images`, as its own description prepares them.

How many is a matter of cost: transformers' pass over a large tower takes minutes. Not about prompts
(`image_prompts`) or judging (`image_check`).
"""

from __future__ import annotations

from dataclasses import dataclass

from exporter.models.vision.spec import PatchEmbedderSpec, PatchTowerSpec, SiglipSpec, VisionSpec
from exporter.resources import data_directory
from runtimes.images.picture import read_picture
from runtimes.images.prepared import PreparedImage
from runtimes.images.preparing import prepared_image
from runtimes.images.processing import ImageProcessing

SAMPLES = ("quadrants.png", "digits.png", "ramps.png")  # colours first: what is wrong shows there
MOST_WORK = 2e12  # multiplications: what transformers does in some minutes on two cores


@dataclass(frozen=True)
class TriedPicture:
    """name: of its file."""

    name: str
    prepared: PreparedImage


def sample_pictures(processing: ImageProcessing, spec: VisionSpec) -> tuple[TriedPicture, ...]:
    """As many of `SAMPLES`, from the first on, as a tower of this size can be tried with; at least one."""
    count = max(1, min(len(SAMPLES), int(MOST_WORK / work_of(spec, processing.soft_tokens))))
    directory = data_directory("samples") / "images"
    return tuple(
        TriedPicture(name, prepared_image(read_picture(directory / name).pixels, processing))
        for name in SAMPLES[:count]
    )


def work_of(spec: VisionSpec, soft_tokens: int) -> float:
    """Multiplications of one picture, attention not counted."""
    match spec:
        case SiglipSpec():
            places = spec.side**2
        case PatchTowerSpec():
            places = soft_tokens * spec.kernel**2
        case PatchEmbedderSpec():
            places = soft_tokens
    return float(spec.parameter_count()) * places
