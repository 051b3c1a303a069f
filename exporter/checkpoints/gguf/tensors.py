"""Which tensor of a GGUF is which weight of the spec, and what the rest are.

llama.cpp's converter stores every Gemma's matrices as transformers has them (no rows of the query and
key projections are exchanged: their RoPE turns halves). Not about values (`source`).
Source: llama.cpp gguf-py tensor_mapping.py, conversion/gemma.py.
"""

from __future__ import annotations

import gguf
import numpy as np

from exporter.checkpoints.gguf.file import GgufFile
from exporter.checkpoints.text_tensors import UNUSED, TextTensors
from exporter.errors import CheckpointError
from exporter.models.text.spec import LayerSpec, ModelSpec

WHOLE_MODEL = {
    "model.embed_tokens": "token_embd",
    "model.embed_tokens_per_layer": "per_layer_token_embd",
    "model.per_layer_model_projection": "per_layer_model_proj",
    "model.per_layer_projection_norm": "per_layer_proj_norm",
    "model.norm": "output_norm",
    "lm_head": "output",
}
OF_A_LAYER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "post_feedforward_layernorm": "post_ffw_norm",
    "per_layer_input_gate": "inp_gate",
    "per_layer_projection": "proj",
    "post_per_layer_input_norm": "post_norm",
    "layer_scalar": "layer_output_scale",
}
UNUSED_WITHOUT_CACHE = ("attn_k", "attn_v", "attn_k_norm")
# What the frequency of each pair of a full layer is divided by.
ROPE_FACTORS = "rope_freqs.weight"
NEVER_TURNS = 1e30


def gguf_name(canonical: str, spec: ModelSpec) -> str:
    """llama.cpp's name of a weight of the spec."""
    plain = canonical.removesuffix(".weight")
    if plain in WHOLE_MODEL:
        return f"{WHOLE_MODEL[plain]}.weight"
    layer, _, part = plain.removeprefix("model.layers.").partition(".")
    # Gemma 1 has no norm behind its attention: this one stands before the MLP, and GGUF names it so.
    before_mlp = part == "post_attention_layernorm" and not spec.post_norms
    return f"blk.{layer}.{'ffn_norm' if before_mlp else OF_A_LAYER[part]}.weight"


def find_gguf_tensors(file: GgufFile, spec: ModelSpec) -> TextTensors:
    """Sort the file's tensors. One that is not known keeps its name: `require_exactly` judges it.

    Raises CheckpointError for RoPE factors that are not the spec's.
    """
    known = {gguf_name(weight.name, spec): weight.name for weight in spec.weights()}
    unused = {
        f"blk.{layer.index}.{part}.weight"
        for layer in spec.layers
        if not layer.owns_cache
        for part in UNUSED_WITHOUT_CACHE
    }
    partial = next((layer for layer in spec.layers if layer.rope.rotated != 1.0), None)
    stored: dict[str, str] = {}
    left_out: list[str] = []
    for name in file.tensors:
        if name in unused:
            left_out.append(name)
        elif name == ROPE_FACTORS and partial is not None:
            _require_rope_factors(file, partial)
        else:
            stored[known.get(name, name)] = name
    return TextTensors(stored, {UNUSED: tuple(left_out)} if left_out else {})


def _require_rope_factors(file: GgufFile, layer: LayerSpec) -> None:
    """1 for the pairs that turn, 1e30 for the rest: then the factors say what the spec says."""
    tensor = file.tensors[ROPE_FACTORS]
    turning = int(layer.rope.rotated * layer.head_dim // 2)
    expected = np.array([1.0] * turning + [NEVER_TURNS] * (layer.head_dim // 2 - turning), np.float32)
    if tensor.shape == expected.shape:
        found = gguf.dequantize(file.read_rows(ROPE_FACTORS, 0, 1)[0], tensor.kind)
        if np.array_equal(found, expected):
            return
    raise CheckpointError(
        f"{file.path}: {ROPE_FACTORS}",
        f"does not turn the first {turning} of {layer.head_dim // 2} frequency pairs and leave the rest",
        "the file is a variant this version cannot export; give a Hugging Face directory",
    )
