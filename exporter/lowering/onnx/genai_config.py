"""`genai_config.json` and the tokenizer files: what onnxruntime-genai and others look for.

Not about the graph. Keys: onnxruntime-genai 0.18, `src/config.cpp`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from exporter.errors import LoweringError
from exporter.lowering.interface import LoweringOrder
from exporter.lowering.onnx.genai_images import (
    PROCESSOR_NAME,
    genai_image_type,
    processor_config,
    with_images,
)
from exporter.lowering.onnx.genai_sounds import EXTRACTOR_NAME, feature_extraction, with_sounds
from exporter.lowering.onnx.genai_template import genai_template
from runtimes.strict_json import StrictJsonError, read_json_object

CONFIG_NAME = "genai_config.json"
TEMPLATE_NAME, KEY = "chat_template.jinja", "chat_template"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")
PAD_TOKEN = 0  # of every Gemma
# onnxruntime-genai 0.18 knows transformers' names of text models, but for these: theirs run the same way.
GENAI_TYPES = {"gemma4_unified_text": "gemma4_text", "vaultgemma": "gemma2"}


def write_genai_config(order: LoweringOrder, graph_name: str, directory: Path) -> None:
    """Write `genai_config.json` for the graph beside it, and where images and sounds are ordered for those
    too."""
    config = _genai_config(order, graph_name)
    if order.images is not None and (kind := genai_image_type(order)) is not None:
        config["model"] = with_images(config["model"], order, kind)
        _write_json(directory / PROCESSOR_NAME, processor_config(order.images.processing))
        if order.sounds is not None:
            config["model"] = with_sounds(config["model"])
            _write_json(directory / EXTRACTOR_NAME, feature_extraction(order.sounds.processing))
    _write_json(directory / CONFIG_NAME, config)


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def copy_tokenizer(order: LoweringOrder, directory: Path) -> None:
    """Put the tokenizer files and the chat template beside the graph."""
    for name in TOKENIZER_FILES:
        try:
            shutil.copyfile(order.tokenizer / name, directory / name)
        except OSError as error:
            raise LoweringError(
                order.tokenizer / name,
                f"cannot be copied ({error.strerror})",
                "give a directory with the tokenizer's files",
            ) from error
    if order.chat_template is not None:
        template = genai_template(order.chat_template)
        (directory / TEMPLATE_NAME).write_text(template, encoding="utf-8")
        _say_in_config(directory / "tokenizer_config.json", template)


def _say_in_config(path: Path, template: str) -> None:
    """The one template in a tokenizer_config.json that holds one: genai reads it there first."""
    try:
        config = read_json_object(path)
    except StrictJsonError as error:
        raise LoweringError(path, f"cannot be read as JSON ({error})", "fetch it again") from error
    if config.get(KEY, template) != template:
        text = json.dumps({**config, KEY: template}, indent=2, ensure_ascii=False) + "\n"
        path.write_text(text, encoding="utf-8")


def _genai_config(order: LoweringOrder, graph_name: str) -> dict[str, Any]:
    spec = order.checkpoint.components["text"].spec
    first = spec.cache_layers[0]
    return {
        "model": {
            "type": GENAI_TYPES.get(spec.model_type, spec.model_type),
            "bos_token_id": order.bos_token,
            "eos_token_id": list(order.stop_tokens),
            "pad_token_id": PAD_TOKEN,
            "vocab_size": spec.vocab_size,
            "context_length": order.context,
            "decoder": {
                "filename": graph_name,
                "session_options": {"log_id": "onnxruntime-genai", "provider_options": []},
                "hidden_size": spec.hidden_size,
                # Layers may differ from the first; the runtime takes sizes from the graph's inputs then.
                "head_size": first.head_dim,
                "num_attention_heads": first.heads,
                "num_key_value_heads": first.kv_heads,
                # The runtime counts caches by it, and layers without one have none to count.
                "num_hidden_layers": len(spec.cache_layers),
                "inputs": {
                    "input_ids": "input_ids",
                    "attention_mask": "attention_mask",
                    "past_key_names": "past_key_values.%d.key",
                    "past_value_names": "past_key_values.%d.value",
                },
                "outputs": {
                    "logits": "logits",
                    "present_key_names": "present.%d.key",
                    "present_value_names": "present.%d.value",
                },
            },
        },
        "search": {
            "do_sample": False,
            "max_length": order.context,
            "min_length": 0,
            "num_beams": 1,
            "num_return_sequences": 1,
            "past_present_share_buffer": True,
            "repetition_penalty": 1.0,
            "temperature": 1.0,
            "top_k": 1,
            "top_p": 1.0,
        },
    }
