"""GGUF files of tiny Gemmas, with the metadata, names and changes llama.cpp's converter makes.

Names are gguf-py's own, metadata is made from config.json and not from a spec, so that what reads a file
is held against something it was not made from.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

from exporter.checkpoints.gguf.architectures import GgufArchitecture
from exporter.models.text.spec import ModelSpec, Role
from tests.tiny import (
    FULL,
    SLIDING,
    SPECIAL_TOKENS,
    TINY_CONFIGS,
    VOCABULARY,
    RandomSource,
    tiny_gemma3,
)

FAMILIES = {
    "gemma": gguf.MODEL_ARCH.GEMMA,
    "gemma2": gguf.MODEL_ARCH.GEMMA2,
    "gemma3_text": gguf.MODEL_ARCH.GEMMA3,
    "gemma4_text": gguf.MODEL_ARCH.GEMMA4,
    "gemma4_unified_text": gguf.MODEL_ARCH.GEMMA4,
}
# llama.cpp has no VaultGemma.
TINY_AS_GGUF = {name: make for name, make in TINY_CONFIGS.items() if make()["model_type"] in FAMILIES}
WORDS = ("▁", "a", "b", "ab", "▁a", "▁ab", "c", "abc", "▁c")
GEMMA4_SPECIAL = ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<|tool_response>", "<|turn>", "<turn|>")
GEMMA4_MERGES = ("a b", "▁ a", "▁a b", "▁ ab", "ab c", "▁ c", "▁ ▁")
CONTROL, USER_DEFINED, NORMAL, BYTE = 3, 4, 1, 6
TEMPLATE = "{{ bos_token }}{{ messages[0]['content'] }}"


def tiny_architecture(config: Mapping[str, Any] | None = None) -> GgufArchitecture:
    """The table's entry for a tiny Gemma, by default 3."""
    return GgufArchitecture.of("tiny-gemma", tiny_gemma3() if config is None else config)


def family_of(config: Mapping[str, Any]) -> str:
    family: str = gguf.MODEL_ARCH_NAMES[FAMILIES[config["model_type"]]]
    return family


def converted_metadata(config: Mapping[str, Any]) -> dict[str, Any]:
    """What llama.cpp's converter states of a model, from the config.json of its text model."""
    family = family_of(config)
    stated: dict[str, Any] = {
        "context_length": config["max_position_embeddings"],
        "embedding_length": config["hidden_size"],
        "block_count": config["num_hidden_layers"],
        "feed_forward_length": config["intermediate_size"],
        "attention.head_count": config["num_attention_heads"],
        "attention.head_count_kv": config["num_key_value_heads"],
        "attention.layer_norm_rms_epsilon": config["rms_norm_eps"],
        "attention.key_length": config["head_dim"],
        "attention.value_length": config["head_dim"],
    }
    if family != "gemma":
        stated["attention.sliding_window"] = config["sliding_window"]
        for key in ("attn_logit_softcapping", "final_logit_softcapping"):
            if config.get(key) is not None:
                stated[key] = config[key]
    if family in ("gemma3", "gemma4"):
        ropes = config["rope_parameters"]
        stated["rope.freq_base"] = ropes[FULL]["rope_theta"]
        stated["rope.freq_base_swa"] = ropes[SLIDING]["rope_theta"]
        if ropes[FULL]["rope_type"] == "linear":
            stated["rope.scaling.type"] = "linear"
            stated["rope.scaling.factor"] = ropes[FULL]["factor"]
    if family == "gemma4":
        stated |= _of_gemma4(config)
    return {f"{family}.{key}": value for key, value in stated.items()}


def _of_gemma4(config: Mapping[str, Any]) -> dict[str, Any]:
    sliding = [kind == SLIDING for kind in config["layer_types"]]
    shared = config.get("num_kv_shared_layers", 0)
    stated: dict[str, Any] = {
        "attention.sliding_window_pattern": sliding,
        "attention.key_length": config["global_head_dim"],
        "attention.value_length": config["global_head_dim"],
        "attention.key_length_swa": config["head_dim"],
        "attention.value_length_swa": config["head_dim"],
        "attention.shared_kv_layers": shared,
        "rope.dimension_count": config["global_head_dim"],
        "rope.dimension_count_swa": config["head_dim"],
        "embedding_length_per_layer_input": config.get("hidden_size_per_layer_input") or 0,
    }
    if config.get("use_double_wide_mlp"):
        inner, own = config["intermediate_size"], len(sliding) - shared
        stated["feed_forward_length"] = [inner * (1 if i < own else 2) for i in range(len(sliding))]
    if (wide := config.get("num_global_key_value_heads")) is not None:
        narrow = config["num_key_value_heads"]
        stated["attention.head_count_kv"] = [narrow if slides else wide for slides in sliding]
    return stated


def sentencepiece_metadata() -> dict[str, Any]:
    pieces, scores, kinds = tiny_vocabulary()
    return _vocabulary_metadata("llama", pieces, scores, kinds)


def gemma4_metadata() -> dict[str, Any]:
    """A vocabulary of Gemma 4's kind: every score the same, merges listed, what is shown user-defined."""
    pieces = [*GEMMA4_SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256)), *WORDS, "▁▁"]
    shown = ("<|tool_response>",)
    kinds = [USER_DEFINED if piece in shown else CONTROL for piece in GEMMA4_SPECIAL]
    kinds += [BYTE] * 256 + [NORMAL] * (len(WORDS) + 1)
    unused = VOCABULARY - len(pieces)
    pieces += [f"<unused{i}>" for i in range(unused)]
    metadata = _vocabulary_metadata("gemma4", pieces, [-1000.0] * VOCABULARY, kinds + [NORMAL] * unused)
    return {**metadata, "tokenizer.ggml.merges": list(GEMMA4_MERGES)}


def _vocabulary_metadata(
    model: str, pieces: list[str], scores: list[float], kinds: list[int]
) -> dict[str, Any]:
    return {
        "tokenizer.ggml.model": model,
        "tokenizer.ggml.tokens": pieces,
        "tokenizer.ggml.scores": scores,
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.padding_token_id": 0,
        "tokenizer.ggml.eos_token_id": 1,
        "tokenizer.ggml.bos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 3,
        "tokenizer.chat_template": TEMPLATE,
    }


def tiny_vocabulary() -> tuple[list[str], list[float], list[int]]:
    """Pieces, scores and types in GGUF's spelling: specials, bytes, a few words, unused ones."""
    pieces = [*SPECIAL_TOKENS, "  ", "   ", *(f"<0x{byte:02X}>" for byte in range(256)), *WORDS]
    kinds = [CONTROL] * len(SPECIAL_TOKENS) + [USER_DEFINED] * 2 + [BYTE] * 256 + [NORMAL] * len(WORDS)
    scores = [-1000.0] * (len(pieces) - len(WORDS)) + [-float(i) for i in range(len(WORDS))]
    unused = VOCABULARY - len(pieces)
    pieces += [f"<unused{i}>" for i in range(unused)]
    return pieces, scores + [-1000.0] * unused, kinds + [CONTROL] * unused


def as_gguf(values: NDArray[np.float32], kind: str) -> NDArray[np.float32]:
    """What is left of float32 values in a GGUF tensor type."""
    number = gguf.GGMLQuantizationType[kind]
    left: NDArray[np.float32] = gguf.dequantize(gguf.quantize(values, number), number).astype(np.float32)
    return left


def gguf_kind(source: RandomSource, name: str, kinds: tuple[str, ...]) -> str:
    """The type a tensor is written in: vectors F32, matrices taken in turn."""
    matrices = [weight.name for weight in source.components["text"].weights if weight.is_matrix]
    return kinds[matrices.index(name) % len(kinds)] if name in matrices else "F32"


def write_gguf(
    source: RandomSource,
    path: Path,
    *,
    kinds: tuple[str, ...] = ("Q8_0",),
    metadata: Mapping[str, Any] | None = None,
    extra: Mapping[str, NDArray[np.float32]] | None = None,
    without: tuple[str, ...] = (),
    tensors_a_part: int = 0,
) -> Path:
    """A GGUF as llama.cpp converts it: its names, its 1 added to norms, its factors for partial RoPE.

    metadata: keys beside the usual or in their place. extra: further F32 tensors, or in the usual ones'
    place. without: metadata keys and tensors left out. tensors_a_part: 0 for one file; gguf-py names the
    parts after `path`.
    """
    family = family_of(source.architecture)
    writer = gguf.GGUFWriter(path, family, split_max_tensors=tensors_a_part)
    tokenizer = gemma4_metadata() if family == "gemma4" else sentencepiece_metadata()
    for key, value in (converted_metadata(source.architecture) | tokenizer | dict(metadata or {})).items():
        if key not in without:
            _add(writer, key, value)
    further = rope_factors(source.architecture) | dict(extra or {})
    text = source.components["text"]
    for weight in text.weights:
        name = stored_name(weight.name, text.spec)
        if name in without or name in further:
            continue
        values = source.weights[weight.name]
        if weight.role is Role.NORM and text.spec.norm_adds_one:
            values = values + np.float32(1)
        kind = gguf.GGMLQuantizationType[gguf_kind(source, weight.name, kinds)]
        writer.add_tensor(name, gguf.quantize(values, kind), raw_dtype=kind)
    for name, values in further.items():
        if name not in without:
            writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def rope_factors(config: Mapping[str, Any]) -> dict[str, NDArray[np.float32]]:
    """The tensor that leaves most of a full layer's pairs alone in Gemma 4; none for other families."""
    if family_of(config) != "gemma4":
        return {}
    pairs = config["global_head_dim"] // 2
    turning = int(pairs * config["rope_parameters"][FULL]["partial_rotary_factor"])
    return {"rope_freqs.weight": np.array([1.0] * turning + [1e30] * (pairs - turning), np.float32)}


def stored_name(canonical: str, spec: ModelSpec) -> str:
    """llama.cpp's name of a weight, from gguf-py's own table."""
    plain = canonical.removesuffix(".weight")
    found = _names(spec.model_type, len(spec.layers)).get_name(plain) or {"lm_head": "output"}.get(plain)
    assert found is not None, canonical
    return f"{found}.weight"


@cache
def _names(model_type: str, layers: int) -> gguf.TensorNameMap:
    return gguf.get_tensor_name_map(FAMILIES[model_type], layers)


def _add(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    match value:
        case bool():
            writer.add_bool(key, value)
        case int():
            writer.add_uint32(key, value)
        case float():
            writer.add_float32(key, value)
        case str():
            writer.add_string(key, value)
        case list():
            writer.add_array(key, value)
        case _:
            raise TypeError(key)
