"""Pictures shown to a release: read and prepared as it says, made rows of by its tower, and the decoder
that takes them opened.

The tower is closed before the decoder is opened: the memory of the two is never held at once. Not about the
prompt (`prompt_tokens`) or what comes after it (`generation`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from exporter.checkpoints.tokenizer.image_spelling import counted_images
from exporter.errors import UsageError
from exporter.running.placed_release import COPY_AGAIN, PlacedRelease
from exporter.running.prompt_tokens import ImagePrompt
from runtimes.errors import ArtifactError, EncoderError, ProcessingError, RuntimeUnavailable
from runtimes.formats import Format
from runtimes.images.picture import read_picture
from runtimes.images.prepared import ImageRows, PreparedImage
from runtimes.images.preparing import prepared_image
from runtimes.images.processing import PROCESSING_NAME, ImageProcessing, read_processing
from runtimes.images.session import ImageSession, PlacedImage
from runtimes.open import IMAGE_ENCODERS, IMAGE_SESSIONS, open_image_encoder, open_image_session
from runtimes.opening import ImageOpening

FLAG = "--image"
THREADS = 2  # as `open_session` has it


@dataclass(frozen=True)
class PreparedImages:
    """images: in order. remarks: what was left out of the files, a sentence each."""

    images: tuple[PreparedImage, ...]
    remarks: tuple[str, ...]

    @property
    def rows(self) -> tuple[int, ...]:
        return tuple(image.soft_tokens for image in self.images)


def towers(release: PlacedRelease, format: Format | None) -> tuple[ImageOpening, ...]:
    """What can be opened for images, in the order of the manifest: of one format, or all for None.

    Raises UsageError for a release or a format that takes text alone.
    """
    manifest = release.manifest
    decoders = {each.format: each for each in release.decoders(format)}
    if not manifest.encoders:
        left_out = "; ".join(manifest.model["left_out"])
        if "vision" in manifest.components:
            what = "none of its formats takes images"
        elif left_out:
            what = f"left out of its checkpoint: {left_out}"
        else:
            what = "its checkpoint has no image tower"
        raise UsageError(
            FLAG, f"{release.directory} takes text alone ({what})", "export a model that sees, with images"
        )
    found = tuple(
        ImageOpening(release.directory, each, decoders[each.format], THREADS, "fp16")
        for each in manifest.encoders
        if each.format in decoders
    )
    if not found:
        formats = dict.fromkeys(each.format for each in manifest.encoders)
        raise UsageError(FLAG, f"{format} takes text alone", f"choose --format {' or '.join(formats)}")
    return found


def processing_of(release: PlacedRelease, openings: Sequence[ImageOpening]) -> ImageProcessing:
    """What is done to a picture before it enters these towers. Raises as `read_processing`, and
    ProcessingError where they make another number of rows."""
    found = read_processing(release.directory)
    for encoder in (each.encoder for each in openings):
        if encoder.soft_tokens != found.soft_tokens:
            raise ProcessingError(
                f"{release.directory / PROCESSING_NAME}: $.soft_tokens is {found.soft_tokens}, and "
                f"{encoder.path} makes {encoder.soft_tokens} of an image; {COPY_AGAIN}"
            )
    return found


def prepared_images(paths: Sequence[Path], processing: ImageProcessing) -> PreparedImages:
    """Raises PictureError for a file that is no whole picture."""
    pictures = [read_picture(path) for path in paths]
    return PreparedImages(
        tuple(prepared_image(each.pixels, processing) for each in pictures),
        tuple(remark for each in pictures for remark in each.remarks),
    )


def require_room_for_images(context: int, prompt: ImagePrompt, rows: Sequence[int]) -> None:
    """Raise UsageError for a prompt that leaves no room to answer, with what its images take."""
    length, seen = len(prompt.tokens), sum(rows)
    if length >= context:
        raise UsageError(
            FLAG,
            f"{counted_images(len(rows))} and the prompt around take {seen} + {length - seen} positions, "
            f"and the context of {context} would hold none after these",
            "give fewer images, or export with a longer --context or, of a Gemma 4, fewer --image-tokens",
        )


def require_no_place(release: PlacedRelease, prompt: str) -> None:
    """Raise UsageError for a prompt without pictures that writes what stands for one."""
    if not (release.directory / PROCESSING_NAME).is_file():
        return
    placeholder = read_processing(release.directory).marks.placeholder
    if placeholder in prompt:
        raise UsageError(
            "PROMPT",
            f"has {placeholder}, which stands for an image, and none was given",
            f"name its file with {FLAG}, or leave it out",
        )


@contextmanager
def first_that_sees(
    release: PlacedRelease,
    openings: Sequence[ImageOpening],
    images: Sequence[PreparedImage],
    passed_over: Callable[[str], None],
) -> Iterator[tuple[ImageSession, list[ImageRows]]]:
    """Rows of each image and a decoder, of the first format whose runtime is here. passed_over: is told of
    those before it, in words.

    Raises RuntimeUnavailable where none is here, naming what to install for each.
    """
    missing: list[str] = []
    for opening in openings:
        release.require_whole(opening.artifact)
        release.require_whole(opening.encoder)
        try:
            rows = _rows(opening, images)
            session = open_image_session(opening)
        except RuntimeUnavailable as error:
            missing.append(f"{opening.encoder.path}: {error}")
            continue
        for each in missing:
            passed_over(f"Passed over {each}")
        with session:
            yield session, rows
        return
    raise RuntimeUnavailable("; ".join(missing))


def placed(prompt: ImagePrompt, rows: Sequence[ImageRows]) -> tuple[PlacedImage, ...]:
    return tuple(PlacedImage(start, each) for start, each in zip(prompt.starts, rows, strict=True))


def _rows(opening: ImageOpening, images: Sequence[PreparedImage]) -> list[ImageRows]:
    encoder = opening.encoder
    if encoder.format not in IMAGE_ENCODERS or encoder.format not in IMAGE_SESSIONS:
        raise RuntimeUnavailable("takes images by no driver of this version; use a newer gemma-export")
    with open_image_encoder(opening) as tower:
        try:
            found = [tower.rows(image) for image in images]
        except EncoderError as error:  # it is new: what is wrong is what it was given
            raise ProcessingError(
                f"{opening.release / PROCESSING_NAME}: does not prepare pictures for {encoder.path} "
                f"({error}); {COPY_AGAIN}"
            ) from error
    for image, rows in zip(images, found, strict=True):
        if rows.shape != (image.soft_tokens, encoder.width):
            raise ArtifactError(
                f"{opening.release / encoder.path}: made rows of shape {rows.shape}, and an image has "
                f"{image.soft_tokens} of width {encoder.width}; export the model again"
            )
    return found
