"""What a model card says of pictures and sounds: which artifacts take them, and how a person asks about
one.

Not about how they are prepared: `image_processing.json` and `sound_processing.json` in the release say
that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from exporter.formats.family import PICTURE_QUESTION, SOUND_QUESTION, PictureAsking, Prompting
from exporter.formats.table import facts_of
from exporter.packaging.escaping import code
from runtimes.images.processing import PROCESSING_NAME, ImageProcessing
from runtimes.manifest import Artifact, EncoderArtifact
from runtimes.sounds.processing import SOUND_PROCESSING_NAME, SoundProcessing


@dataclass(frozen=True)
class CardImages:
    """What of a release takes images, and what is done to them before."""

    encoders: tuple[EncoderArtifact, ...]
    processing: ImageProcessing


@dataclass(frozen=True)
class CardSounds:
    """The same of sounds."""

    encoders: tuple[EncoderArtifact, ...]
    processing: SoundProcessing


def image_section(images: CardImages, artifacts: Sequence[Artifact], prompting: Prompting) -> str:
    """Markdown, with a command for every format that takes images."""
    paragraphs = [
        f"It takes pictures. Each is at most {images.processing.soft_tokens} soft tokens: rows that the "
        f"image tower makes of it, in the places of tokens. {code(PROCESSING_NAME)} says how a picture is "
        "resized and scaled before." + _without("images", images.encoders, artifacts)
    ]
    for encoder in images.encoders:
        paragraphs.append(_command(encoder, images.encoders, "--image ../picture.png", PICTURE_QUESTION))
        ask = facts_of(encoder.format).how_to_ask
        asking = PictureAsking(encoder, images.processing, prompting)
        told = None if ask is None else ask(asking)
        if told is not None:
            paragraphs.append(told)
    paragraphs.append(
        "It was measured with pictures that a program drew, none from a camera. An app that resizes "
        "pictures in a way of its own shows the model other pixels, for which these figures do not stand."
    )
    return "\n\n".join(paragraphs)


def sound_section(sounds: CardSounds, artifacts: Sequence[Artifact], prompting: Prompting) -> str:
    """Markdown, with a command for every format that takes sounds."""
    processing = sounds.processing
    paragraphs = [
        f"It takes sounds of at most {processing.longest:g} seconds. Each is at most "
        f"{processing.soft_tokens} soft tokens: rows that the audio encoder makes of it, in the places of "
        f"tokens. {code(SOUND_PROCESSING_NAME)} says how a sound is resampled and cut into frames before."
        + _without("sounds", sounds.encoders, artifacts)
    ]
    for encoder in sounds.encoders:
        paragraphs.append(_command(encoder, sounds.encoders, "--audio ../sound.wav", SOUND_QUESTION))
        hear = facts_of(encoder.format).how_to_hear
        told = None if hear is None else hear(encoder, processing, prompting)
        if told is not None:
            paragraphs.append(told)
    paragraphs.append(
        "It was measured with sounds that a program made, without a voice or a microphone. An app that "
        "resamples sounds or makes spectra in a way of its own gives the model something else to hear, for "
        "which these figures do not stand."
    )
    return "\n\n".join(paragraphs)


def _without(what: str, encoders: Sequence[EncoderArtifact], artifacts: Sequence[Artifact]) -> str:
    taking = {encoder.format for encoder in encoders}
    others = [code(each.path) for each in artifacts if each.format not in taking]
    return f" {', '.join(others)} take{'s' if len(others) == 1 else ''} no {what}." if others else ""


def _command(
    encoder: EncoderArtifact, encoders: Sequence[EncoderArtifact], given: str, question: str
) -> str:
    chosen = f"--format {encoder.format} " if len(encoders) > 1 else ""
    return f'```sh\ngemma-export run . {chosen}{given} "{question}"\n```'
