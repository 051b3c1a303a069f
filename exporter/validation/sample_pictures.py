"""Pictures that a release is tried with: those of `samples/images`, as its own description prepares them.

How many is a matter of cost: transformers' pass over a large tower takes minutes. Not about prompts
(`placed_prompts`) or judging (`tower_check`).
"""

from __future__ import annotations

from exporter.errors import SpecError
from exporter.models.vision.places import known_places
from exporter.models.vision.spec import (
    SOFT_TOKENS,
    PatchEmbedderSpec,
    PatchTowerSpec,
    SiglipSpec,
    VisionSpec,
)
from exporter.resources import data_directory
from exporter.validation.findings import ReleaseUnderTest
from exporter.validation.samples import Marks, Samples, TriedSample
from runtimes.images.picture import read_picture
from runtimes.images.preparing import prepared_image, squares_within
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


def require_known_places(spec: VisionSpec, soft_tokens: int | None, model: str) -> None:
    """Raise SpecError where a tower has no positions for so usual a picture as the samples are, of so many
    soft tokens: transformers stops there, too. Where only a long one goes beyond, that one is refused when
    it is given.

    soft_tokens: None where no images are taken. model: whose config.json says how long its tables are.
    """
    if soft_tokens is None or isinstance(spec, SiglipSpec):
        return
    needed, known = _longest_row(spec, soft_tokens), known_places(spec, soft_tokens)
    if needed <= known:
        return
    key = "position_embedding_size" if isinstance(spec, PatchTowerSpec) else "mm_posemb_size"
    fitting = [str(each) for each in SOFT_TOKENS if _longest_row(spec, each) <= known_places(spec, each)]
    fewer = f"give --image-tokens {' or '.join(fitting)}, or leave" if fitting else "leave"
    raise SpecError(
        f"config.json of {model}: vision_config.{key}",
        f"is {spec.positions}, and a common picture of {soft_tokens} soft tokens has {needed} patches in a "
        "row",
        f"{fewer} images out with --components text",
    )


def _longest_row(spec: PatchTowerSpec | PatchEmbedderSpec, soft_tokens: int) -> int:
    """Patches in the longest row or column of any of the samples."""
    kernel = spec.kernel if isinstance(spec, PatchTowerSpec) else 1
    directory = data_directory("samples") / "images"
    sizes = [read_picture(directory / name).pixels.shape[:2] for name in SAMPLES]
    side = spec.patch_size * spec.kernel
    return kernel * max(max(squares_within(width, height, side, soft_tokens)) for height, width in sizes)


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
