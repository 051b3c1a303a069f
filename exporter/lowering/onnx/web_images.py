"""What transformers.js looks for around graphs for images: names, and files of its processors.

    onnx/embed_tokens_quantized.onnx, vision_encoder…, decoder_model_merged…, each with …_data
    processor_config.json, preprocessor_config.json, chat_template.jinja         the release itself

Its image-text-to-text classes are Gemma 3's and Gemma 4's; it knows no Gemma 4 12B. What its pipeline of
text opens is two of the same graphs. Not about the text's own files (`web_config`).
Source: @huggingface/transformers 4.3.1, `models/session_config.js`, `models/gemma3`, `models/gemma4`.
"""

from __future__ import annotations

from typing import Any

from exporter.lowering.interface import LoweringOrder
from exporter.lowering.onnx.multimodal_graphs import MultimodalNames
from exporter.models.text.spec import ModelSpec
from runtimes.images.processing import ImageProcessing, PatchProcessing, SquareProcessing
from runtimes.manifest import TowerName

PROCESSOR_NAME, PREPROCESSOR_NAME = "processor_config.json", "preprocessor_config.json"
TEMPLATE_NAME = "chat_template.jinja"
# By the text's model type: what a model of it is called that takes images.
IMAGE_TYPES = {"gemma3_text": "gemma3", "gemma4_text": "gemma4"}
HEARS = "gemma4"  # the one whose class takes sounds too
VISION_GRAPH, AUDIO_GRAPH = "vision_encoder", "audio_encoder"
EMBEDDING_GRAPH, DECODER_GRAPH = "embed_tokens", "decoder_model_merged"
CLASSES = {"gemma3": "Gemma3", "gemma4": "Gemma4"}
BILINEAR, BICUBIC = 2, 3  # as Pillow numbers its filters


def web_multimodal_names(text: ModelSpec, suffix: str) -> MultimodalNames | None:
    """Names of the graphs; None for a model that transformers.js has no class with images for."""
    kind = IMAGE_TYPES.get(text.model_type)
    if kind is None:
        return None
    towers: dict[TowerName, str] = {"vision": f"{VISION_GRAPH}{suffix}.onnx"}
    if kind == HEARS:
        towers["audio"] = f"{AUDIO_GRAPH}{suffix}.onnx"
    return MultimodalNames(
        towers,
        embedding=f"{EMBEDDING_GRAPH}{suffix}.onnx",
        decoder=f"{DECODER_GRAPH}{suffix}.onnx",
        merging="by the client",
        opens_all=True,
    )


def config_with_images(text: dict[str, Any], order: LoweringOrder) -> dict[str, Any] | None:
    """config.json of a model that takes images around that of its text; None where there is none.

    text: without "architectures" and "transformers.js_config".
    """
    model_type = order.checkpoint.components["text"].spec.model_type
    if order.images is None or (kind := IMAGE_TYPES.get(model_type)) is None:
        return None
    soft = order.checkpoint.components["vision"].spec.tokens.soft
    return {
        "architectures": [f"{CLASSES[kind]}ForConditionalGeneration"],
        "model_type": kind,
        "image_token_id": soft,
        "text_config": {**text, "model_type": model_type},
        **{key: text[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id")},
    }


def processor_files(kind: str, processing: ImageProcessing) -> dict[str, dict[str, Any]]:
    """What its processors read, by name of the file. kind: the model type with images."""
    processor_class = {"processor_class": f"{CLASSES[kind]}Processor"}
    settings = {
        **processor_class,
        "image_processor_type": f"{CLASSES[kind]}ImageProcessor",
        "image_seq_length": processing.soft_tokens,
        **_steps(processing),
    }
    whole = {**processor_class, "image_seq_length": processing.soft_tokens}
    if kind == "gemma4":
        whole["image_processor"] = settings
    return {PROCESSOR_NAME: whole, PREPROCESSOR_NAME: settings}


def _steps(processing: ImageProcessing) -> dict[str, Any]:
    common = {"do_convert_rgb": True, "do_resize": True, "do_rescale": True, "rescale_factor": 1 / 255}
    if processing.square is not None:
        return common | _squashing(processing.square)
    assert processing.patches is not None  # one of the two is there
    return common | _cutting(processing.patches, processing.soft_tokens)


def _squashing(square: SquareProcessing) -> dict[str, Any]:
    return {
        "do_normalize": True,
        "do_pad": False,
        "image_mean": list(square.mean),
        "image_std": list(square.std),
        "resample": BILINEAR,
        "size": {"height": square.side, "width": square.side},
    }


def _cutting(patches: PatchProcessing, soft_tokens: int) -> dict[str, Any]:
    return {
        "do_normalize": False,
        "max_soft_tokens": soft_tokens,
        "patch_size": patches.patch_size,
        "pooling_kernel_size": patches.kernel,
        "resample": BICUBIC,
    }
