"""Rows of the pictures and sounds of a prompt, made by encoders of a release, and the decoder for them.

Each encoder is closed before the next is opened, and before the decoder is: the memory of two is never held
at once. Not about reading files (`media`), nor about what a decoder says (`generation`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from exporter.checkpoints.tokenizer.media_spelling import FILES
from exporter.errors import UsageError
from exporter.running.media import DESCRIPTIONS, FLAGS, PreparedMedia
from exporter.running.placed_release import COPY_AGAIN, PlacedRelease
from exporter.running.prompt_tokens import MediaPrompt
from runtimes.encoder import EncodedRows
from runtimes.errors import ArtifactError, EncoderError, ProcessingError, RuntimeUnavailable
from runtimes.formats import Format
from runtimes.manifest import Artifact, TowerName
from runtimes.multimodal.placing import ROWS_OF
from runtimes.multimodal.session import MultimodalSession, PlacedRows, RowKind
from runtimes.open import (
    IMAGE_ENCODERS,
    MULTIMODAL_SESSIONS,
    SOUND_ENCODERS,
    open_image_encoder,
    open_multimodal_session,
    open_sound_encoder,
)
from runtimes.opening import EncoderOpening

THREADS = 2  # as `open_session` has it
COMPONENTS: Mapping[RowKind, TowerName] = {"image": "vision", "sound": "audio"}
NAMES: Mapping[RowKind, str] = {"image": "image tower", "sound": "audio encoder"}
DOES: Mapping[RowKind, str] = {"image": "sees", "sound": "hears"}
Encoded = Mapping[RowKind, Sequence[EncodedRows]]


@dataclass(frozen=True)
class Openings:
    """Encoders of one format, of each kind that is wanted, whose rows one decoder takes."""

    encoders: Mapping[RowKind, EncoderOpening]

    @property
    def decoder(self) -> EncoderOpening:
        return next(iter(self.encoders.values()))

    @property
    def artifact(self) -> Artifact:
        return self.decoder.artifact


def openings_for(
    release: PlacedRelease, format: Format | None, kinds: Sequence[RowKind]
) -> tuple[Openings, ...]:
    """What can be opened for these kinds, in the order of the manifest: of one format, or all for None.

    Raises UsageError for a release or a format that does not take one of them.
    """
    for kind in kinds:
        _require_encoder(release, kind)
    every = _openings(release, kinds)
    asked = {each.format for each in release.decoders(format)}
    if found := tuple(each for each in every if each.artifact.format in asked):
        return found
    flags, what = " ".join(FLAGS[kind] for kind in kinds), " and ".join(f"{kind}s" for kind in kinds)
    if not every:
        raise UsageError(flags, f"no format of {release.directory} takes {what}", "give one of them alone")
    formats = dict.fromkeys(each.artifact.format for each in every)
    raise UsageError(flags, f"{format} takes no {what}", f"choose --format {' or '.join(formats)}")


def require_described(openings: Sequence[Openings]) -> None:
    """Raise ProcessingError where what the release says of pictures or sounds is of another number of rows
    than its encoders make, and as reading it does."""
    for each in openings:
        for kind, opening in each.encoders.items():
            encoder, found = opening.encoder, DESCRIPTIONS[kind](opening.release)
            if encoder.soft_tokens != found.soft_tokens:
                raise ProcessingError(
                    f"{opening.release / FILES[kind]}: $.soft_tokens is {found.soft_tokens}, and "
                    f"{encoder.path} makes {encoder.soft_tokens} of {ROWS_OF[kind]}; {COPY_AGAIN}"
                )


@contextmanager
def first_that_takes(
    release: PlacedRelease,
    openings: Sequence[Openings],
    media: PreparedMedia,
    passed_over: Callable[[str], None],
) -> Iterator[tuple[MultimodalSession, Encoded]]:
    """Rows of each picture and sound and a decoder, of the first format whose runtime is here. passed_over:
    is told of those before it, in words.

    Raises RuntimeUnavailable where none is here, naming what to install for each.
    """
    missing: list[str] = []
    for each in openings:
        release.require_whole(each.artifact)
        for opening in each.encoders.values():
            release.require_whole(opening.encoder)
        try:
            rows = {kind: _rows(opening, kind, media) for kind, opening in each.encoders.items()}
            session = open_multimodal_session(each.decoder)
        except RuntimeUnavailable as error:
            missing.append(f"{each.decoder.encoder.path}: {error}")
            continue
        for words in missing:
            passed_over(f"Passed over {words}")
        with session:
            yield session, rows
        return
    raise RuntimeUnavailable("; ".join(missing))


def placed(prompt: MediaPrompt, rows: Encoded) -> tuple[PlacedRows, ...]:
    left = {kind: iter(each) for kind, each in rows.items()}
    return tuple(PlacedRows(each.start, next(left[each.of]), each.of) for each in prompt.places)


def _openings(release: PlacedRelease, kinds: Sequence[RowKind]) -> tuple[Openings, ...]:
    decoders = {each.format: each for each in release.decoders()}
    kind_of = {COMPONENTS[kind]: kind for kind in kinds}
    found: dict[tuple[Format, str], dict[RowKind, EncoderOpening]] = {}
    for encoder in release.manifest.encoders or ():
        if encoder.format in decoders and encoder.component in kind_of:
            artifact = decoders[encoder.format]
            opening = EncoderOpening(release.directory, encoder, artifact, THREADS, "fp16")
            of_decoder = found.setdefault((encoder.format, encoder.decoder), {})
            of_decoder.setdefault(kind_of[encoder.component], opening)
    return tuple(Openings(each) for each in found.values() if len(each) == len(kinds))


def _require_encoder(release: PlacedRelease, kind: RowKind) -> None:
    manifest, component = release.manifest, COMPONENTS[kind]
    if any(each.component == component for each in manifest.encoders or ()):
        return
    left_out = "; ".join(each for each in manifest.model["left_out"] if component in each)
    if component in manifest.components:
        why = f"none of its formats takes {kind}s"
    elif left_out:
        why = f"left out of its checkpoint: {left_out}"
    else:
        why = f"its checkpoint has no {NAMES[kind]}"
    takes = f"takes no {kind}s" if manifest.encoders else "takes text alone"
    raise UsageError(
        FLAGS[kind],
        f"{release.directory} {takes} ({why})",
        f"export a model that {DOES[kind]}, with {kind}s",
    )


def _rows(opening: EncoderOpening, kind: RowKind, media: PreparedMedia) -> list[EncodedRows]:
    encoder = opening.encoder
    tables = IMAGE_ENCODERS if kind == "image" else SOUND_ENCODERS
    if encoder.format not in tables or encoder.format not in MULTIMODAL_SESSIONS:
        raise RuntimeUnavailable(f"takes {kind}s by no driver of this version; use a newer gemma-export")
    try:
        found = _encoded(opening, kind, media)
    except EncoderError as error:  # the encoder is new: what is wrong is what it was given
        raise ProcessingError(
            f"{opening.release / FILES[kind]}: does not prepare {kind}s for {encoder.path} ({error}); "
            f"{COPY_AGAIN}"
        ) from error
    for soft_tokens, rows in zip(media.rows[kind], found, strict=True):
        if rows.shape != (soft_tokens, encoder.width):
            raise ArtifactError(
                f"{opening.release / encoder.path}: made rows of shape {rows.shape}, and {ROWS_OF[kind]} "
                f"has {soft_tokens} of width {encoder.width}; export the model again"
            )
    return found


def _encoded(opening: EncoderOpening, kind: RowKind, media: PreparedMedia) -> list[EncodedRows]:
    if kind == "image":
        with open_image_encoder(opening) as tower:
            return [tower.rows(image) for image in media.images]
    with open_sound_encoder(opening) as hearing:
        return [hearing.rows(sound) for sound in media.sounds]
