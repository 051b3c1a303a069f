"""`ModelSpec`: every architecture number of a Gemma text model, per layer, without defaults.

Not about reading config.json (`exporter.models.text.families`) or computing anything.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from functools import cached_property

COLUMNS_NAME = "model.embed_tokens.columns"


@dataclass(frozen=True)
class Rope:
    """Rotary position embedding of one layer.

    theta: base of the wavelengths. linear_factor: positions are divided by it (1.0: not scaled).
    rotated: share of the head's frequency pairs that turn; the rest have frequency 0
    ("proportional" RoPE of Gemma 4, transformers `_compute_proportional_rope_parameters`).
    """

    theta: float
    linear_factor: float
    rotated: float


@dataclass(frozen=True)
class LayerSpec:
    """One decoder layer.

    window: tokens a sliding layer sees, itself included; None for a full layer.
    kv_source: the layer whose KV cache it attends to; its own index if it owns one.
    value_from_key: the value is the raw key projection (Gemma 4 `attention_k_eq_v`).
    """

    index: int
    heads: int
    kv_heads: int
    head_dim: int
    window: int | None
    rope: Rope
    intermediate_size: int
    kv_source: int
    value_from_key: bool

    @property
    def owns_cache(self) -> bool:
        return self.kv_source == self.index

    @property
    def prefix(self) -> str:
        return f"model.layers.{self.index}."


@dataclass(frozen=True)
class PerLayerEmbedding:
    """The second embedding of Gemma 4 E models: `width` numbers per layer and token."""

    width: int
    vocab_size: int


class Role(Enum):
    """What a weight is used as; recipes and lowerings decide by it."""

    EMBEDDING = "embedding"  # [vocab, hidden]: looked up, and the output head too where tied
    HEAD = "head"  # [vocab, hidden], untied
    PER_LAYER_EMBEDDING = "per-layer embedding"  # [vocab, layers * width]
    LINEAR = "linear"  # [out, in]
    NORM = "norm"  # [width]
    SCALAR = "scalar"  # [1]
    COLUMNS = "columns"  # [width]: what looked-up rows are multiplied with, column by column
    # Of towers:
    TOWER_LINEAR = "tower linear"  # [out, in]
    PATCHES = "patches"  # [out, numbers in a patch]: a linear over squares of a picture or a spectrum
    POSITIONS = "positions"  # [places, width]: added to patches by where they stand
    VECTOR = "vector"  # [width]: a bias, a gain, a bound, as it is


VECTORS = frozenset({Role.NORM, Role.SCALAR, Role.COLUMNS, Role.VECTOR})


@dataclass(frozen=True)
class WeightSpec:
    """A weight the model has: canonical transformers name, shape, role."""

    name: str
    shape: tuple[int, ...]
    role: Role

    @property
    def is_matrix(self) -> bool:
        return self.role not in VECTORS


@dataclass(frozen=True)
class ModelSpec:
    """A Gemma text decoder.

    model_type: transformers' name of the text architecture ("gemma3_text").
    norm_adds_one: RMSNorm multiplies by 1 + w (Gemma 1 to 3) instead of w.
    post_norms: attention and MLP outputs are normalised before they join the residual stream.
    query_scale: factor on q·k. attention_softcap, final_softcap: cap·tanh(x / cap), None where absent.
    embedding_columns: no published model's; set where the tied embedding is stored divided by a vector
    that its rows are multiplied with again (`exporter.quantization.transforms.equalization`).
    """

    model_type: str
    vocab_size: int
    hidden_size: int
    context_length: int
    norm_eps: float
    norm_adds_one: bool
    post_norms: bool
    qk_norm: bool
    v_norm: bool
    query_scale: float
    attention_softcap: float | None
    final_softcap: float | None
    tied_embedding: bool
    per_layer_embedding: PerLayerEmbedding | None
    layer_scalars: bool
    layers: tuple[LayerSpec, ...]
    embedding_columns: bool = False

    @property
    def embedding_name(self) -> str:
        return "model.embed_tokens.weight"

    @property
    def head_name(self) -> str:
        return self.embedding_name if self.tied_embedding else "lm_head.weight"

    @property
    def mlp_norm(self) -> str:
        """The norm before the MLP, within a layer. Gemma 1 names it by the attention it stands behind."""
        return "post_attention_layernorm" if self.model_type == "gemma" else "pre_feedforward_layernorm"

    @property
    def per_layer_embedding_name(self) -> str:
        return "model.embed_tokens_per_layer.weight"

    @property
    def embedding_scale(self) -> float:
        return math.sqrt(self.hidden_size)

    @property
    def cache_layers(self) -> tuple[LayerSpec, ...]:
        """The layers that own a KV cache, in order."""
        return tuple(layer for layer in self.layers if layer.owns_cache)

    def weights(self) -> tuple[WeightSpec, ...]:
        """Every weight the text model has, in graph order. The checkpoint must hold exactly these."""
        return self._weights

    @cached_property
    def _weights(self) -> tuple[WeightSpec, ...]:
        found = [WeightSpec(self.embedding_name, (self.vocab_size, self.hidden_size), Role.EMBEDDING)]
        if self.embedding_columns:
            found.append(WeightSpec(COLUMNS_NAME, (self.hidden_size,), Role.COLUMNS))
        if self.per_layer_embedding is not None:
            found += self._per_layer_embedding_weights(self.per_layer_embedding)
        for layer in self.layers:
            found += self._layer_weights(layer)
        found.append(WeightSpec("model.norm.weight", (self.hidden_size,), Role.NORM))
        if not self.tied_embedding:
            found.append(WeightSpec("lm_head.weight", (self.vocab_size, self.hidden_size), Role.HEAD))
        return tuple(found)

    def parameter_count(self) -> int:
        return sum(math.prod(weight.shape) for weight in self.weights())

    def _per_layer_embedding_weights(self, ple: PerLayerEmbedding) -> list[WeightSpec]:
        packed = len(self.layers) * ple.width
        return [
            WeightSpec(
                self.per_layer_embedding_name,
                (ple.vocab_size, packed),
                Role.PER_LAYER_EMBEDDING,
            ),
            WeightSpec("model.per_layer_model_projection.weight", (packed, self.hidden_size), Role.LINEAR),
            WeightSpec("model.per_layer_projection_norm.weight", (ple.width,), Role.NORM),
        ]

    def _layer_weights(self, layer: LayerSpec) -> list[WeightSpec]:
        hidden, inner = self.hidden_size, layer.intermediate_size
        queries, keys = layer.heads * layer.head_dim, layer.kv_heads * layer.head_dim

        def linear(name: str, out: int, inputs: int) -> WeightSpec:
            return WeightSpec(f"{layer.prefix}{name}.weight", (out, inputs), Role.LINEAR)

        def norm(name: str, width: int) -> WeightSpec:
            return WeightSpec(f"{layer.prefix}{name}.weight", (width,), Role.NORM)

        found = [norm("input_layernorm", hidden), linear("self_attn.q_proj", queries, hidden)]
        if layer.owns_cache:
            found.append(linear("self_attn.k_proj", keys, hidden))
            if not layer.value_from_key:
                found.append(linear("self_attn.v_proj", keys, hidden))
        if self.qk_norm:
            found.append(norm("self_attn.q_norm", layer.head_dim))
            if layer.owns_cache:
                found.append(norm("self_attn.k_norm", layer.head_dim))
        found.append(linear("self_attn.o_proj", hidden, queries))
        if self.post_norms:
            found.append(norm("post_attention_layernorm", hidden))
        found.append(norm(self.mlp_norm, hidden))
        if self.post_norms:
            found.append(norm("post_feedforward_layernorm", hidden))
        found += [
            linear("mlp.gate_proj", inner, hidden),
            linear("mlp.up_proj", inner, hidden),
            linear("mlp.down_proj", hidden, inner),
        ]
        if self.per_layer_embedding is not None:
            width = self.per_layer_embedding.width
            found += [
                linear("per_layer_input_gate", width, hidden),
                linear("per_layer_projection", hidden, width),
                norm("post_per_layer_input_norm", hidden),
            ]
        if self.layer_scalars:
            found.append(WeightSpec(f"{layer.prefix}layer_scalar", (1,), Role.SCALAR))
        return found
