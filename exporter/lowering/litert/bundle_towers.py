"""What an order's images and sounds put into a bundle, and what they ask of its text model.

Not about either kind (`vision.sections`, `audio.sections`) or the text model (`bundle_models`).
"""

from __future__ import annotations

from collections.abc import Mapping

from exporter.lowering.interface import LoweringOrder
from exporter.lowering.litert.audio.sections import audio_of, sound_sections
from exporter.lowering.litert.container_writing import SectionSource
from exporter.lowering.litert.metadata import ImageFacts, SoundFacts
from exporter.lowering.litert.row_marks import EndToken, RowsInText
from exporter.lowering.litert.vision.sections import chunk_for_images, image_sections, images_in_text
from exporter.lowering.litert.writing import Written
from exporter.quantization.store.checkpoint import Matrix


def rows_in_text(order: LoweringOrder) -> RowsInText | None:
    """None for text alone."""
    images = sound_end = None
    if order.images is not None:
        images = images_in_text(order, order.images)
    if order.sounds is not None:
        token = audio_of(order.checkpoint).spec.tokens.end
        sound_end = EndToken.of(order.checkpoint.components["text"], token)
    return None if images is None and sound_end is None else RowsInText(images, sound_end)


def chunk_of_bundle(order: LoweringOrder) -> int:
    """Tokens of its text model's prefill. Raises LoweringError where an image does not fit into the
    context."""
    return order.prefill_chunk if order.images is None else chunk_for_images(order, order.images)


def tower_sections(order: LoweringOrder, rows: RowsInText, written: Written) -> list[SectionSource]:
    """What is put behind the text model."""
    sections = []
    if order.images is not None and rows.images is not None:
        sections += image_sections(order, order.images, rows.images.end.embedding, written)
    if order.sounds is not None and rows.sound_end is not None:
        sections += sound_sections(order, order.sounds, rows.sound_end.embedding, written)
    return sections


def tower_matrices(order: LoweringOrder) -> Mapping[str, Matrix]:
    """Those of what was ordered."""
    parts, found = order.checkpoint.components, dict[str, Matrix]()
    if order.images is not None:
        found |= parts["vision"].matrices
    if order.sounds is not None:
        found |= parts["audio"].matrices
    return found


def image_facts(order: LoweringOrder) -> ImageFacts | None:
    if order.images is None:
        return None
    tokens = order.checkpoint.components["vision"].spec.tokens
    return ImageFacts(tokens.begin, tokens.end, order.images.processing)


def sound_facts(order: LoweringOrder) -> SoundFacts | None:
    if order.sounds is None:
        return None
    tokens = order.checkpoint.components["audio"].spec.tokens
    return SoundFacts(tokens.begin, tokens.end, order.sounds.processing)
