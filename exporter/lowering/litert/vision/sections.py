"""What a bundle holds for images: the models they go through, and what LiteRT-LM is told of masks.

Also what images ask of the text model (`image_marks`). Not about the models themselves (`vision.graphs`)
nor the metadata of the whole bundle (`metadata`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np
from litert_lm_builder.litertlm_header_schema_py_generated import AnySectionDataType
from litert_lm_builder.runtime.proto import executor_metadata_pb2
from numpy.typing import NDArray

from exporter.errors import LoweringError
from exporter.formats.litert import LITERT, image_call
from exporter.lowering.interface import ImageOrder, LoweringOrder
from exporter.lowering.litert.bundle_models import model_section
from exporter.lowering.litert.container_writing import SectionSource
from exporter.lowering.litert.row_marks import EndToken, ImagesInText
from exporter.lowering.litert.vision.graphs import build_adapter, build_encoder, build_end_of_vision
from exporter.lowering.litert.writing import Written
from exporter.models.text.spec import LayerSpec
from exporter.quantization.store.checkpoint import QuantizedCheckpoint, StoredVision
from runtimes.litert.image_models import END_OF_VISION, VISION_ADAPTER, VISION_ENCODER


def images_in_text(order: LoweringOrder, images: ImageOrder) -> ImagesInText:
    tokens = _vision(order.checkpoint).spec.tokens
    return ImagesInText(tokens.blocks, EndToken.of(order.checkpoint.components["text"], tokens.end))


def image_sections(
    order: LoweringOrder, images: ImageOrder, end: NDArray[np.float32], written: Written
) -> list[SectionSource]:
    """What is put behind the text model of a bundle. end: embedding of the token that ends an image."""
    vision = _vision(order.checkpoint)
    sections = [model_section(VISION_ENCODER, build_encoder(vision, images), written)]
    if (adapter := build_adapter(vision, images, end)) is not None:
        sections.append(model_section(VISION_ADAPTER, adapter, written))
    sections.append(model_section(END_OF_VISION, build_end_of_vision(end), written))
    if (masks := executor_metadata(order, images)) is not None:
        sections.append(SectionSource(AnySectionDataType.ExecutorMetadataProto, (), _putting(masks)))
    return sections


def executor_metadata(order: LoweringOrder, images: ImageOrder) -> bytes | None:
    """Which masks the text model takes, and then also which caches; None where causal ones do."""
    text, blocks = order.checkpoint.components["text"].spec, _vision(order.checkpoint).spec.tokens.blocks
    if blocks == "none":
        return None
    metadata = executor_metadata_pb2.ExecutorMetadata()
    settings = metadata.llm_executor_metadata.attention_mask_settings
    bidirectional = executor_metadata_pb2.ATTENTION_MASK_TYPE_VISION_BIDIRECTIONAL
    causal = executor_metadata_pb2.ATTENTION_MASK_TYPE_CAUSAL
    # Windows are the graph's: told of one, LiteRT-LM 0.18 fills the mask otherwise even within it.
    settings.attention_mask_type = bidirectional if blocks == "all" else causal
    settings.local_attention_mask_type = bidirectional
    longest = chunk_for_images(order, images)
    for layer in text.cache_layers:
        slots = LITERT.cache_slots(text, layer, order.context, longest)
        _describe_cache(metadata.llm_executor_metadata, layer, slots)
    serialized: bytes = metadata.SerializeToString(deterministic=True)
    return serialized


def _describe_cache(executor: Any, layer: LayerSpec, slots: int) -> None:
    """Keys are [1, kv_heads, slots, head_dim], values transposed."""
    types = executor_metadata_pb2.StateBuffer
    kinds = (types.TYPE_GLOBAL_KEY_CACHE, types.TYPE_GLOBAL_VALUE_CACHE)
    if layer.window is not None:
        kinds = (types.TYPE_LOCAL_KEY_CACHE, types.TYPE_LOCAL_VALUE_CACHE)
    for part, kind, axis in zip("kv", kinds, (2, 3), strict=True):
        state, name = executor.state_buffers.add(), f"kv_cache_{part}_{layer.index}"
        state.prefill_input_name = state.prefill_output_name = name
        state.decode_input_name = state.decode_output_name = name
        state.type, state.sequence_axis, state.maximum_sequence_length = kind, axis, slots
        if layer.window is not None:
            state.minimum_sequence_length = min(layer.window, slots)


def chunk_for_images(order: LoweringOrder, images: ImageOrder) -> int:
    """Tokens of the one prefill of a bundle. Raises LoweringError where an image does not fit into the
    context."""
    if _vision(order.checkpoint).spec.tokens.blocks == "none":
        return order.prefill_chunk
    if images.soft_tokens + 1 > order.context:
        raise LoweringError(
            "LiteRT",
            f"an image of {images.soft_tokens} tokens does not fit a context of {order.context}",
            "choose a longer --context or fewer --image-tokens",
        )
    return image_call(images.soft_tokens, order.prefill_chunk, order.context)


def _vision(checkpoint: QuantizedCheckpoint) -> StoredVision:
    vision = checkpoint.components.vision
    if vision is None:
        raise LoweringError(
            "LiteRT", "images are ordered, and the checkpoint has no tower", "order text alone"
        )
    return vision


def _putting(data: bytes) -> Callable[[BinaryIO], None]:
    def put(file: BinaryIO) -> None:
        file.write(data)

    return put
