"""Pictures and sounds that a prompt is about: read and prepared as the release says, with room for them.

Not about rows (`encoding`), the prompt (`prompt_tokens`) or what comes after it (`generation`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporter.checkpoints.tokenizer.media_spelling import (
    FILES,
    KINDS,
    MediaRows,
    MediaSpelling,
    counted_media,
)
from exporter.errors import UsageError
from exporter.running.placed_release import PlacedRelease
from exporter.running.prompt_tokens import MediaPrompt
from runtimes.errors import PictureError
from runtimes.images.picture import read_picture
from runtimes.images.prepared import PreparedImage
from runtimes.images.preparing import prepared_image
from runtimes.images.processing import ImageMarks, ImageProcessing, read_processing
from runtimes.multimodal.placing import ROWS_OF
from runtimes.multimodal.session import RowKind
from runtimes.sounds.prepared import PreparedSound
from runtimes.sounds.preparing import prepared_sound
from runtimes.sounds.processing import SoundLength, SoundMarks, SoundProcessing, read_sound_processing
from runtimes.sounds.sound_file import read_sound

FLAGS: Mapping[RowKind, str] = {"image": "--image", "sound": "--audio"}
FEWER: Mapping[RowKind, str] = {"image": "fewer images", "sound": "fewer or shorter sounds"}
DESCRIPTIONS: Mapping[RowKind, Callable[[Path], ImageProcessing | SoundProcessing]] = {
    "image": read_processing,
    "sound": read_sound_processing,
}


@dataclass(frozen=True)
class MediaFiles:
    """In the order they were given."""

    images: tuple[Path, ...] = ()
    sounds: tuple[Path, ...] = ()

    @property
    def kinds(self) -> tuple[RowKind, ...]:
        return _kinds(self.images, self.sounds)


@dataclass(frozen=True)
class PreparedMedia:
    """images, sounds: in order. remarks: what was left out of the files, a sentence each. longest: sound
    that the model hears; None where none was given."""

    images: tuple[PreparedImage, ...]
    sounds: tuple[PreparedSound, ...]
    remarks: tuple[str, ...]
    longest: SoundLength | None = None

    @property
    def kinds(self) -> tuple[RowKind, ...]:
        return _kinds(self.images, self.sounds)

    @property
    def rows(self) -> MediaRows:
        return {
            "image": [each.soft_tokens for each in self.images],
            "sound": [each.soft_tokens for each in self.sounds],
        }


def prepared_media(release: PlacedRelease, files: MediaFiles) -> PreparedMedia:
    """Raises PictureError and SoundError for a file that is no whole picture or sound, ProcessingError for
    a release that does not say what is done to them, and ArtifactError for one where that was changed."""
    images, sounds, remarks = list[PreparedImage](), list[PreparedSound](), list[str]()
    longest: SoundLength | None = None
    if files.images:
        of_images = read_processing(release.directory)
        release.require_as_sealed(FILES["image"])
        for path in files.images:
            picture = read_picture(path)
            try:
                images.append(prepared_image(picture.pixels, of_images))
            except PictureError as error:
                raise PictureError(f"{path}: {error}") from error
            remarks += picture.remarks
    if files.sounds:
        of_sounds = read_sound_processing(release.directory)
        longest = of_sounds.longest_sound
        release.require_as_sealed(FILES["sound"])  # an encoder takes wrong spectra too
        for path in files.sounds:
            sound = read_sound(path, of_sounds)
            sounds.append(prepared_sound(sound.samples, of_sounds))
            remarks += sound.remarks
    return PreparedMedia(tuple(images), tuple(sounds), tuple(remarks), longest)


def spelling_of(release: PlacedRelease, tokenizer: Any) -> MediaSpelling:
    """Of all that the release says it takes."""
    marks: dict[RowKind, ImageMarks | SoundMarks] = {
        kind: DESCRIPTIONS[kind](release.directory).marks for kind in _described(release)
    }
    return MediaSpelling.of(marks, tokenizer)


def require_room_for_media(context: int, prompt: MediaPrompt, media: PreparedMedia) -> None:
    """Raise UsageError for a prompt that leaves no room to answer, with what its images and sounds take and
    how long these could be."""
    rows, length = media.rows, len(prompt.tokens)
    given = [kind for kind in KINDS if rows[kind]]
    taken = sum(sum(rows[kind]) for kind in given)
    if length >= context:
        counts = ", ".join(counted_media(kind, len(rows[kind])) for kind in given)
        left = context - 1 - length + sum(rows["sound"])
        fits = None if media.longest is None or left < 1 else media.longest.scaled(left)
        room = "" if fits is None else f"; it has room for {fits.words} of sound"
        tokens = " or, of a Gemma 4, fewer --image-tokens" if rows["image"] else ""
        # Words that leave no room by themselves leave none to fewer images either.
        alone_too_long = length - taken >= context
        fewer = f"give {' or '.join(FEWER[kind] for kind in given)}"
        then = "shorten the prompt" if alone_too_long else fewer
        raise UsageError(
            " and ".join(FLAGS[kind] for kind in given),
            f"{counts} and the prompt around take {taken} + {length - taken} positions, "
            f"and the context of {context} would hold none after these{room}",
            f"{then}, or export with a longer --context{'' if alone_too_long else tokens}",
        )


def require_no_place(release: PlacedRelease, prompt: str, given: Sequence[RowKind]) -> None:
    """Raise UsageError for a prompt that writes what stands for a picture or a sound, without one."""
    for kind in _described(release):
        placeholder = DESCRIPTIONS[kind](release.directory).marks.placeholder
        if kind not in given and placeholder in prompt:
            raise UsageError(
                "PROMPT",
                f"has {placeholder}, which stands for {ROWS_OF[kind]}, and none was given",
                f"name its file with {FLAGS[kind]}, or leave it out",
            )


def _described(release: PlacedRelease) -> tuple[RowKind, ...]:
    return tuple(kind for kind in KINDS if (release.directory / FILES[kind]).is_file())


def _kinds(images: Sequence[object], sounds: Sequence[object]) -> tuple[RowKind, ...]:
    given = {"image": images, "sound": sounds}
    return tuple(kind for kind in KINDS if given[kind])
