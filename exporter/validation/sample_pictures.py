"""Pictures that a release is tried with: those of `samples/images`, as its own description prepares them.

How many is a matter of cost: transformers' pass over a large tower takes minutes. Not about prompts
(`placed_prompts`) or judging (`tower_check`).
"""

from __future__ import annotations

from exporter.models.vision.spec import PatchEmbedderSpec, PatchTowerSpec, SiglipSpec, VisionSpec
from exporter.resources import data_directory
from exporter.validation.findings import ReleaseUnderTest
from exporter.validation.samples import Marks, Samples, TriedSample
from runtimes.images.picture import read_picture
from runtimes.images.preparing import prepared_image
from runtimes.images.processing import read_processing
from runtimes.multimodal.session import RowKind

SAMPLES = ("quadrants.png", "digits.png", "ramps.png")  # colours first: what is wrong shows there
MOST_WORK = 2e12  # multiplications: what transformers does in some minutes on two cores


def sample_pictures(release: ReleaseUnderTest) -> Samples:
    """As many of `SAMPLES`, from the first on, as a tower of this size can be tried with; at least one."""
    spec = release.checkpoint.components["vision"].spec
    processing = read_processing(release.directory)
    count = max(1, min(len(SAMPLES), int(MOST_WORK / work_of(spec, processing.soft_tokens))))
    directory = data_directory("samples") / "images"
    tried = tuple(
        TriedSample(name, prepared_image(read_picture(directory / name).pixels, processing))
        for name in SAMPLES[:count]
    )
    marks: dict[RowKind, Marks] = {"image": processing.marks}
    return Samples(tried, marks, processing.soft_tokens, tuple(_not_tried(SAMPLES[count:])))


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


def _not_tried(beyond: tuple[str, ...]) -> list[str]:
    if not beyond:
        return []
    return [
        f"{' and '.join(beyond)} {'was' if len(beyond) == 1 else 'were'} not tried: transformers takes "
        "minutes for a picture in a tower of this size."
    ]
