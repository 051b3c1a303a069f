"""What transformers.js looks for around a graph: config.json, generation_config.json, the tokenizer, names.

    config.json, generation_config.json, tokenizer.json, tokenizer_config.json      the release itself
    onnx/model_quantized.onnx, onnx/model_quantized.onnx_data                       named after the dtype

Not about the graph. Source: @huggingface/transformers 4.3.1, `configs.js`, `models/session.js`,
`utils/dtypes.js`, `utils/model-loader.js`, `tokenization_utils.js`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from exporter.errors import LoweringError
from exporter.lowering.interface import LoweringOrder
from exporter.lowering.onnx.genai_config import PAD_TOKEN, TOKENIZER_FILES
from exporter.lowering.onnx.web_multimodal import (
    TEMPLATE_NAME,
    config_with_rows,
    graphs_with_data,
    processor_files,
)
from exporter.quantization.store.checkpoint import Matrix
from runtimes.strict_json import StrictJsonError, read_json_object

CONFIG_NAME, GENERATION_NAME, TOKENIZER_CONFIG = (
    "config.json",
    "generation_config.json",
    "tokenizer_config.json",
)

Dtype = Literal["fp32", "fp16", "q8", "q4"]
"""transformers.js' name of what a file holds. fp16: floats in half precision, computed in fp32."""

SUFFIXES: dict[Dtype, str] = {"fp32": "", "fp16": "_fp16", "q8": "_quantized", "q4": "_q4"}

# Its class of Gemma 4 wants embeddings from a graph of their own. Ours is one graph from tokens to logits,
# which is what its class of Gemma 3's text model runs; that counts caches by `num_hidden_layers` and takes
# their shapes from the graph, so that nothing else of the architecture matters to it.
RUN_AS = {"gemma4_text": "gemma3_text", "gemma4_unified_text": "gemma3_text"}
ARCHITECTURES = {
    "gemma": "GemmaForCausalLM",
    "gemma2": "Gemma2ForCausalLM",
    "gemma3_text": "Gemma3ForCausalLM",
    "vaultgemma": "VaultGemmaForCausalLM",
}


def dtype_of(matrices: Mapping[str, Matrix]) -> Dtype:
    """The name for a model with these matrices: that of its narrowest."""
    bits = min(each.scheme.bits for each in matrices.values())
    match bits:
        case 4:
            return "q4"
        case 8:
            return "q8"
        case 16:
            return "fp16"
        case _:
            return "fp32"


def write_web_config(order: LoweringOrder, dtype: Dtype, release: Path) -> None:
    """Write what a pipeline reads before it opens the graph, at the release's root."""
    config = _config(order)
    external: int | dict[str, int] = 1
    if (whole := config_with_rows(config, order)) is not None:
        config, external = whole, dict.fromkeys(graphs_with_data(order), 1)
        for name, content in processor_files(whole["model_type"], order).items():
            _write_json(release / name, content)
        # Empty for a base model: its processor of Gemma 3 opens nothing where the file is not.
        (release / TEMPLATE_NAME).write_text(order.chat_template or "", encoding="utf-8")
    settings = {"dtype": dtype, "use_external_data_format": external}
    _write_json(release / CONFIG_NAME, {**config, "transformers.js_config": settings})
    _write_json(release / GENERATION_NAME, _generation(order))
    _put_tokenizer(order, release)


def _config(order: LoweringOrder) -> dict[str, Any]:
    spec = order.checkpoint.components["text"].spec
    model_type = RUN_AS.get(spec.model_type, spec.model_type)
    first = spec.cache_layers[0]
    return {
        "architectures": [ARCHITECTURES[model_type]],
        "model_type": model_type,
        "vocab_size": spec.vocab_size,
        "hidden_size": spec.hidden_size,
        "max_position_embeddings": order.context,
        "num_attention_heads": first.heads,
        "num_key_value_heads": first.kv_heads,
        "head_dim": first.head_dim,
        "num_hidden_layers": len(spec.cache_layers),
        **_special_tokens(order),
    }


def _generation(order: LoweringOrder) -> dict[str, Any]:
    return {**_special_tokens(order), "do_sample": False}


def _special_tokens(order: LoweringOrder) -> dict[str, Any]:
    return {
        "bos_token_id": order.bos_token,
        "eos_token_id": list(order.stop_tokens),
        "pad_token_id": PAD_TOKEN,
    }


def _put_tokenizer(order: LoweringOrder, release: Path) -> None:
    """Have the tokenizer's files there, the template in tokenizer_config.json: it is read nowhere else."""
    try:
        for name in TOKENIZER_FILES:
            if not (release / name).exists():
                shutil.copyfile(order.tokenizer / name, release / name)
        facts = read_json_object(release / TOKENIZER_CONFIG)
    except (OSError, StrictJsonError) as error:
        raise LoweringError(
            order.tokenizer / TOKENIZER_FILES[0],
            f"cannot be put at the release's root ({error})",
            "give a directory with the tokenizer's files",
        ) from error
    if order.chat_template is not None and facts.get("chat_template") != order.chat_template:
        _write_json(release / TOKENIZER_CONFIG, {**facts, "chat_template": order.chat_template})


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
