"""What onnxruntime-genai is told of images: parts of `genai_config.json`, and a processor_config.json.

Its processor cuts a picture up; three graphs make an answer of it (`multimodal_graphs`). Gemma 4 12B has
none of this: genai's processor does not put patches together to the squares that its embedder takes, so
that release is one of text for genai, as it was. Not about the text's own part (`genai_config`), or sounds
(`genai_sounds`).
Keys: onnxruntime-genai 0.18, `src/config.cpp`, and onnxruntime-extensions, `shared/api`.
"""

from __future__ import annotations

from typing import Any

from exporter.lowering.interface import LoweringOrder
from exporter.lowering.onnx.multimodal_graphs import GENAI_NAMES
from runtimes.images.processing import ImageProcessing, PatchProcessing, SquareProcessing

PROCESSOR_NAME = "processor_config.json"
# By the text's model type: what genai calls a model of it that takes images.
IMAGE_TYPES = {"gemma3_text": "gemma3", "gemma4_text": "gemma4"}
PIXELS, POSITIONS, FEATURES = "pixel_values", "pixel_position_ids", "image_features"
PER_LAYER = "per_layer_inputs"


def genai_image_type(order: LoweringOrder) -> str | None:
    """What genai calls a model that takes images as this order has it; None where it knows none."""
    if order.images is None:
        return None
    return IMAGE_TYPES.get(order.checkpoint.components["text"].spec.model_type)


def with_images(model: dict[str, Any], order: LoweringOrder, kind: str) -> dict[str, Any]:
    """The "model" of a genai_config.json, of text, with what images need. kind: `genai_image_type`."""
    text, vision = order.checkpoint.components["text"].spec, order.checkpoint.components["vision"].spec
    decoder = dict(model["decoder"])
    inputs = {**decoder["inputs"], "inputs_embeds": "inputs_embeds"}
    outputs = {"inputs_embeds": "inputs_embeds"}
    if text.per_layer_embedding is not None:
        inputs[PER_LAYER] = outputs[PER_LAYER] = PER_LAYER
    seen = {PIXELS: PIXELS} if kind == "gemma3" else {PIXELS: PIXELS, POSITIONS: POSITIONS}
    found = {
        **model,
        "type": kind,
        "image_token_id": vision.tokens.soft,
        "decoder": decoder | {"filename": GENAI_NAMES.decoder, "inputs": inputs},
        "embedding": {
            "filename": GENAI_NAMES.embedding,
            "inputs": {"input_ids": "input_ids", FEATURES: FEATURES},
            "outputs": outputs,
        },
        "vision": {
            "filename": GENAI_NAMES.towers["vision"],
            "config_filename": PROCESSOR_NAME,
            "inputs": seen,
            "outputs": {FEATURES: FEATURES},
        },
    }
    if kind == "gemma4":
        # It looks for a speech graph too, but where it is told of no processor for that.
        found["speech"] = {"config_filename": ""}
    return found


def processor_config(processing: ImageProcessing) -> dict[str, Any]:
    """What genai's processor is to do with a picture."""
    if processing.square is not None:
        return _processor("image_processing", _squashing(processing.square))
    assert processing.patches is not None  # one of the two is there
    return _processor("gemma4_image_processor", [_cutting(processing.patches, processing.soft_tokens)])


def _processor(name: str, steps: list[dict[str, Any]]) -> dict[str, Any]:
    decoding = _step("decode_image", "DecodeImage", color_space="RGB")
    return {"processor": {"name": name, "transforms": [decoding, *steps]}}


def _squashing(square: SquareProcessing) -> list[dict[str, Any]]:
    sides = {"width": square.side, "height": square.side}
    return [
        _step("resize", "Resize", interpolation="LINEAR", keep_aspect_ratio=0, **sides),
        _step("rescale", "Rescale", rescale_factor=1 / 255),
        _step("normalize", "Normalize", mean=list(square.mean), std=list(square.std)),
        _step("to_channel_first", "Permute3D", dims=[2, 0, 1]),
    ]


def _cutting(patches: PatchProcessing, soft_tokens: int) -> dict[str, Any]:
    return _step(
        "gemma4_image_transform",
        "Gemma4ImageTransform",
        patch_size=patches.patch_size,
        max_soft_tokens=soft_tokens,
        pooling_kernel_size=patches.kernel,
    )


def _step(name: str, kind: str, **attributes: Any) -> dict[str, Any]:
    return {"operation": {"name": name, "type": kind, "attrs": attributes}}
