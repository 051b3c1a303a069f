"""What a directory says is done to a picture before it enters the tower: its processor's files.

transformers 5 saves all in processor_config.json, transformers 4 the image processor's part by itself in
preprocessor_config.json; the first counts for more. Keys that decide pixels must hold what the driver does,
keys that nobody knows are refused, and what else processors note (crops nobody asked for, video) is passed
over. Not about doing it (`runtimes.images`). Source: transformers 5.23 `image_processing_pil_gemma3.py`,
`image_processing_pil_gemma4.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from exporter.checkpoints.files.checkpoint_directory import CheckpointDirectory
from exporter.checkpoints.files.hub_layout import IMAGE_PROCESSOR, PROCESSOR
from exporter.checkpoints.huggingface.processor_config import (
    FETCH,
    OF_EVERY,
    OF_SOUNDS,
    expect_as_configured,
    processor_alone,
    whole_processor,
)
from exporter.checkpoints.tokenizer.named_tokens import NamedTokens
from exporter.errors import SpecError
from exporter.models.config import StrictConfig
from exporter.models.vision.spec import (
    SOFT_TOKENS,
    USUAL_SOFT_TOKENS,
    PatchEmbedderSpec,
    PatchTowerSpec,
    SiglipSpec,
    VisionSpec,
)
from runtimes.excerpt import excerpt
from runtimes.images.processing import (
    PROCESSING_SCHEMA_VERSION,
    ImageMarks,
    ImageProcessing,
    PatchProcessing,
    SquareProcessing,
    scales_pixels,
)

NESTED = "image_processor"
CLASS, BACKENDS = "image_processor_type", ("", "Fast", "Pil")  # what follows a class's name
BILINEAR, BICUBIC = 2, 3  # as Pillow numbers them
BYTE = 1 / 255
HALF = (0.5, 0.5, 0.5)
# Of crops and fillings that are not made, and of how pictures lie in batches.
OF_CROPS = (
    "crop_size", "default_to_square", "disable_grouping", "pad_size", "pan_and_scan_max_num_crops",
    "pan_and_scan_min_crop_size", "pan_and_scan_min_ratio_to_activate", "size_divisor",
)  # fmt: skip
NOT_LOOKED_AT = ("image_mean", "image_std", "image_seq_length", "size")  # by Gemma 4's class


@dataclass(frozen=True)
class ProcessingRead:
    """remarks: what the directory does not say, a sentence each."""

    processing: ImageProcessing
    remarks: tuple[str, ...]


def read_image_processing(directory: CheckpointDirectory, spec: VisionSpec) -> ProcessingRead:
    """Raises SpecError for a processor that does what the driver does not, or that contradicts the tower or
    the tokenizer; CheckpointError for files that cannot be read."""
    config = _image_processor(directory)
    remarks: tuple[str, ...] = ()
    if config is None:
        config = StrictConfig(f"{directory.path / PROCESSOR}", {})
        remarks = (
            f"There is no {PROCESSOR} or {IMAGE_PROCESSOR} that says how pictures are prepared: what "
            "transformers' class of this tower does was taken.",
        )
    _require_class(config, spec)
    for key in ("do_resize", "do_rescale", "do_convert_rgb"):
        config.expect(key, True, None)
    config.expect("data_format", "channels_first", None)
    config.expect("input_data_format", None)
    for key in ("do_pan_and_scan", "do_center_crop", "do_pad"):
        config.expect(key, False, None)
    _expect_near(config, "rescale_factor", BYTE)
    config.ignore(*OF_EVERY, *OF_CROPS)
    square, patches = None, None
    match spec:
        case SiglipSpec():
            soft, square = spec.soft_tokens, _square(config, spec)
            for each in (config, whole_processor(directory)):
                expect_as_configured(each, "image_seq_length", soft, "mm_tokens_per_image")
        case PatchTowerSpec() | PatchEmbedderSpec():
            soft, patches = _soft_tokens(config), _patches(config, spec)
        case _:
            assert_never(spec)
    config.refuse_unread()
    marks = _marks(directory, spec)
    return ProcessingRead(ImageProcessing(PROCESSING_SCHEMA_VERSION, soft, marks, square, patches), remarks)


def _image_processor(directory: CheckpointDirectory) -> StrictConfig | None:
    """The image processor's own settings, wherever they are; None where they are nowhere."""
    whole = whole_processor(directory)
    if NESTED in whole.raw:
        return whole.child(NESTED)
    if directory.has(IMAGE_PROCESSOR):
        return processor_alone(directory, of_others=OF_SOUNDS)
    return None


def _require_class(config: StrictConfig, spec: VisionSpec) -> None:
    """The class that prepares pictures, where it is named, must be the family's: its defaults were read."""
    match spec:
        case SiglipSpec():
            name = "Gemma3ImageProcessor"
        case PatchTowerSpec():
            name = "Gemma4ImageProcessor"
        case PatchEmbedderSpec():
            name = "Gemma4UnifiedImageProcessor"
        case _:
            assert_never(spec)
    if config.has(CLASS) and config.raw[CLASS] not in [f"{name}{backend}" for backend in BACKENDS]:
        raise SpecError(
            f"{config.where}.{CLASS}",
            f"is {excerpt(config.raw[CLASS])}, and pictures for {spec.model_type} are prepared by {name}",
            f"{FETCH}, or give --components text",
        )


def _square(config: StrictConfig, spec: SiglipSpec) -> SquareProcessing:
    config.expect("do_normalize", True, None)
    config.expect("resample", BILINEAR, None)
    if config.has("size"):
        size = config.child("size")
        for side in ("height", "width"):
            found = size.integer(side)
            if found != spec.image_size:
                raise SpecError(
                    f"{size.where}.{side}",
                    f"is {found}, and the tower takes pictures of {spec.image_size}",
                    FETCH,
                )
    return SquareProcessing(spec.image_size, _colours(config, "image_mean"), _colours(config, "image_std"))


def _patches(config: StrictConfig, spec: PatchTowerSpec | PatchEmbedderSpec) -> PatchProcessing:
    config.ignore(*NOT_LOOKED_AT)
    config.expect("do_normalize", False, None)
    config.expect("resample", BICUBIC, None)
    expect_as_configured(config, "patch_size", spec.patch_size, "patch_size")
    expect_as_configured(config, "pooling_kernel_size", spec.kernel, "pooling_kernel_size")
    return PatchProcessing(spec.patch_size, spec.kernel, isinstance(spec, PatchEmbedderSpec))


def _soft_tokens(config: StrictConfig) -> int:
    found = config.integer("max_soft_tokens") if config.has("max_soft_tokens") else USUAL_SOFT_TOKENS
    if found not in SOFT_TOKENS:
        raise SpecError(
            f"{config.where}.max_soft_tokens",
            f"is {found}, and transformers takes {', '.join(map(str, SOFT_TOKENS))}",
            FETCH,
        )
    return found


def _marks(directory: CheckpointDirectory, spec: VisionSpec) -> ImageMarks:
    """Templates spell an image by the token that begins it in Gemma 3, and by the one in place of its rows
    in Gemma 4."""
    tokens, names = spec.tokens, NamedTokens.read(directory)
    spelled: dict[int, str] = {}
    for token in (tokens.soft, tokens.begin, tokens.end):
        if (name := names.name(token)) is None:
            raise SpecError(
                directory.path,
                f"the tokenizer has no special token {token}, which config.json says stands with images",
                "fetch the checkpoint's tokenizer again, or give --components text",
            )
        spelled[token] = name
    placeholder = spelled[tokens.begin if isinstance(spec, SiglipSpec) else tokens.soft]
    return ImageMarks(tokens.soft, tokens.begin, tokens.end, tokens.line_breaks, placeholder)


def _colours(config: StrictConfig, key: str) -> tuple[float, float, float]:
    if not config.has(key):
        return HALF
    found = config.raw[key]
    numbers = isinstance(found, list) and all(type(each) in (int, float) for each in found)
    if not numbers or len(found) != 3 or not scales_pixels(found, deviation=key == "image_std"):
        raise SpecError(f"{config.where}.{key}", f"expected three numbers, got {excerpt(found)}", FETCH)
    red, green, blue = map(float, found)
    return red, green, blue


def _expect_near(config: StrictConfig, key: str, value: float) -> None:
    if config.has(key) and abs(config.number(key) - value) > 1e-9:
        raise SpecError(
            f"{config.where}.{key}", f"expected {value:.9f}, got {excerpt(config.raw[key])}", FETCH
        )
