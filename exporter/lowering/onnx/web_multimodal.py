"""What transformers.js looks for around graphs for images and sounds: names, config.json, processor files.

    onnx/embed_tokens_quantized.onnx, vision_encoder…, audio_encoder…, decoder_model_merged…, and …_data
    processor_config.json, preprocessor_config.json, chat_template.jinja         the release itself

Its image-text-to-text classes are Gemma 3's and Gemma 4's; the latter takes sounds too. It knows no Gemma 4
12B. What its pipeline of text opens is two of the same graphs. Not about the text's own files
(`web_config`), or what processors are told of pictures and sounds (`web_images`, `web_sounds`).
Source: @huggingface/transformers 4.3.1, `models/session_config.js`, `models/gemma3`, `models/gemma4`.
"""

from __future__ import annotations

from typing import Any

from exporter.lowering.interface import LoweringOrder
from exporter.lowering.onnx.multimodal_graphs import MultimodalNames, orders_rows, row_tokens
from exporter.lowering.onnx.web_images import image_settings
from exporter.lowering.onnx.web_sounds import sound_lengths, sound_settings
from exporter.models.text.spec import ModelSpec
from runtimes.manifest import TowerName

PROCESSOR_NAME, PREPROCESSOR_NAME = "processor_config.json", "preprocessor_config.json"
TEMPLATE_NAME = "chat_template.jinja"
# By the text's model type: what a model of it is called that takes images.
ROW_TYPES = {"gemma3_text": "gemma3", "gemma4_text": "gemma4"}
CLASSES = {"gemma3": "Gemma3", "gemma4": "Gemma4"}
HEARS = "gemma4"  # the one whose class takes sounds too
EMBEDDING, DECODER = "embed_tokens", "decoder_model_merged"
TOWERS: dict[TowerName, str] = {"vision": "vision_encoder", "audio": "audio_encoder"}


def web_multimodal_names(text: ModelSpec, suffix: str) -> MultimodalNames | None:
    """Names of the graphs; None for a model that transformers.js has no class with images for."""
    kind = ROW_TYPES.get(text.model_type)
    if kind is None:
        return None
    return MultimodalNames(
        {
            tower: f"{name}{suffix}.onnx"
            for tower, name in TOWERS.items()
            if tower == "vision" or kind == HEARS
        },
        embedding=f"{EMBEDDING}{suffix}.onnx",
        decoder=f"{DECODER}{suffix}.onnx",
        merging="by the client",
        opens_all=True,
    )


def config_with_rows(text: dict[str, Any], order: LoweringOrder) -> dict[str, Any] | None:
    """config.json of a model that takes images or sounds around that of its text; None where there is none.

    text: without "architectures" and "transformers.js_config".
    """
    model_type = order.checkpoint.components["text"].spec.model_type
    if not orders_rows(order) or (kind := ROW_TYPES.get(model_type)) is None:
        return None
    placed = row_tokens(order)
    soft = {"image_token_id": placed.images, "audio_token_id": placed.sounds}
    return {
        "architectures": [f"{CLASSES[kind]}ForConditionalGeneration"],
        "model_type": kind,
        **{key: tokens.soft for key, tokens in soft.items() if tokens is not None},
        "text_config": {**text, "model_type": model_type},
        **{key: text[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id")},
    }


def graphs_with_data(order: LoweringOrder) -> tuple[str, ...]:
    """Names, without a dtype's part, of the graphs that have a data file."""
    ordered = {"audio": order.sounds, "vision": order.images}
    towers = [name for tower, name in TOWERS.items() if ordered[tower] is not None]
    return (EMBEDDING, DECODER, *towers)


def processor_files(kind: str, order: LoweringOrder) -> dict[str, dict[str, Any]]:
    """What its processors read, by name of the file. kind: the model type with images."""
    processor_class = {"processor_class": f"{CLASSES[kind]}Processor"}
    whole: dict[str, Any] = dict(processor_class)
    found = {PROCESSOR_NAME: whole}
    if order.images is not None:
        processing = order.images.processing
        length = {"image_seq_length": processing.soft_tokens}
        named = {"image_processor_type": f"{CLASSES[kind]}ImageProcessor"}
        settings = {**processor_class, **named, **length, **image_settings(processing)}
        whole |= length
        if kind == HEARS:
            whole["image_processor"] = settings
        found[PREPROCESSOR_NAME] = settings
    if order.sounds is not None:
        settings = sound_settings(order.sounds.processing)
        whole |= {**sound_lengths(order.sounds.processing), "feature_extractor": settings}
        # Its AutoProcessor looks there for the class, whatever that reads.
        found.setdefault(PREPROCESSOR_NAME, {**processor_class, **settings})
    return found
