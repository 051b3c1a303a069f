"""What a model card says of pictures: which artifacts take them, and how a person asks about one.

Not about how pictures are prepared: `image_processing.json` in the release says that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from exporter.formats.family import PICTURE_QUESTION, PictureAsking, Prompting
from exporter.formats.table import facts_of
from exporter.models.vision.spec import BlockLayers
from exporter.packaging.escaping import code
from runtimes.images.processing import PROCESSING_NAME, ImageProcessing
from runtimes.manifest import Artifact, EncoderArtifact


@dataclass(frozen=True)
class CardImages:
    """What of a release takes images, and what is done to them before. blocks: layers in which tokens of
    one image see each other."""

    encoders: tuple[EncoderArtifact, ...]
    processing: ImageProcessing
    blocks: BlockLayers


def image_section(images: CardImages, artifacts: Sequence[Artifact], prompting: Prompting) -> str:
    """Markdown, with a command for every format that takes images."""
    taking = {encoder.format for encoder in images.encoders}
    of_text = [code(each.path) for each in artifacts if each.format not in taking]
    most = images.processing.soft_tokens
    paragraphs = [
        f"It takes pictures. Each is at most {most} soft tokens: rows that the image tower makes of it, in "
        f"the places of tokens. {code(PROCESSING_NAME)} says how a picture is resized "
        "and scaled before."
        + (f" {', '.join(of_text)} take{'s' if len(of_text) == 1 else ''} text alone." if of_text else "")
    ]
    for encoder in images.encoders:
        chosen = f"--format {encoder.format} " if len(images.encoders) > 1 else ""
        paragraphs.append(
            f'```sh\ngemma-export run . {chosen}--image ../picture.png "{PICTURE_QUESTION}"\n```'
        )
        ask = facts_of(encoder.format).how_to_ask
        asking = PictureAsking(encoder, images.processing, prompting, images.blocks)
        told = None if ask is None else ask(asking)
        if told is not None:
            paragraphs.append(told)
    paragraphs.append(
        "It was measured with pictures that a program drew, none from a camera. An app that resizes "
        "pictures in a way of its own shows the model other pixels, for which these figures do not stand."
    )
    return "\n\n".join(paragraphs)
