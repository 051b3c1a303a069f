"""What there is to know of an image tower: every number, without defaults, and every weight by name.

Three kinds, by what their checkpoints hold:

    SiglipSpec          Gemma 3 from 4B: SigLIP over square pictures, and a projector
    PatchTowerSpec      Gemma 4 E2B, E4B, 26B, 31B: a transformer over patches that know where they stand
    PatchEmbedderSpec   Gemma 4 12B: no tower, one linear between norms

Not about reading config.json (`families`) or computing anything.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from exporter.models.text.spec import Role, WeightSpec

CHANNELS = 3  # red, green, blue

BlockLayers = Literal["none", "sliding", "all"]
"""Layers of the text model in which the tokens of one image see each other in both directions."""

SOFT_TOKENS = (70, 140, 280, 560, 1120)  # that a processor of Gemma 4 may be told to make of an image
MOST_SOFT_TOKENS, USUAL_SOFT_TOKENS = SOFT_TOKENS[-1], 280


@dataclass(frozen=True)
class ImageTokens:
    """How an image stands among the tokens of a text.

    soft: the id in place of each of its rows. begin, end: ids around them. line_breaks: the processor
    writes two before `begin` and two behind `end`.
    """

    soft: int
    begin: int
    end: int
    line_breaks: bool
    blocks: BlockLayers


@dataclass(frozen=True)
class SiglipSpec:
    """A SigLIP over pictures of image_size x image_size, its patches pooled to `soft_tokens` squares, and
    the projector into the text model's width."""

    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    image_size: int
    patch_size: int
    norm_eps: float
    projector_eps: float
    soft_tokens: int
    text_hidden_size: int
    tokens: ImageTokens

    model_type = "siglip_vision_model"

    @property
    def side(self) -> int:
        """Patches along a picture's side."""
        return self.image_size // self.patch_size

    @property
    def pooled_side(self) -> int:
        """Soft tokens along a picture's side."""
        return math.isqrt(self.soft_tokens)

    def weights(self) -> tuple[WeightSpec, ...]:
        """Every weight of tower and projector, in graph order."""
        return tuple(self._weights())

    def parameter_count(self) -> int:
        return sum(math.prod(weight.shape) for weight in self.weights())

    def _weights(self) -> Iterator[WeightSpec]:
        hidden, tower = self.hidden_size, "vision_tower."
        patch = CHANNELS * self.patch_size**2
        yield WeightSpec(f"{tower}embeddings.patch_embedding.weight", (hidden, patch), Role.PATCHES)
        yield WeightSpec(f"{tower}embeddings.patch_embedding.bias", (hidden,), Role.VECTOR)
        places = (self.side**2, hidden)
        yield WeightSpec(f"{tower}embeddings.position_embedding.weight", places, Role.POSITIONS)
        for index in range(self.layers):
            prefix = f"{tower}encoder.layers.{index}."
            yield from _biased_norm(f"{prefix}layer_norm1", hidden)
            for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
                yield from _biased(f"{prefix}self_attn.{part}", hidden, hidden)
            yield from _biased_norm(f"{prefix}layer_norm2", hidden)
            yield from _biased(f"{prefix}mlp.fc1", self.intermediate_size, hidden)
            yield from _biased(f"{prefix}mlp.fc2", hidden, self.intermediate_size)
        yield from _biased_norm(f"{tower}post_layernorm", hidden)
        projector = "multi_modal_projector."
        yield WeightSpec(f"{projector}mm_soft_emb_norm.weight", (hidden,), Role.VECTOR)
        shape = (self.text_hidden_size, hidden)
        yield WeightSpec(f"{projector}mm_input_projection.weight", shape, Role.TOWER_LINEAR)


@dataclass(frozen=True)
class PatchTowerSpec:
    """Gemma 4's tower. kernel: patches along a side of the square that one soft token stands for.

    positions: rows of each of the two tables, as many as a picture can have patches in a row. clipped:
    what enters and leaves each linear of a layer is kept between bounds. standardize: soft tokens are
    shifted and scaled by vectors.
    """

    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    head_dim: int
    patch_size: int
    kernel: int
    norm_eps: float
    theta: float
    positions: int
    clipped: bool
    standardize: bool
    text_hidden_size: int
    tokens: ImageTokens

    model_type = "gemma4_vision"

    @property
    def patch_width(self) -> int:
        """Numbers in a patch."""
        return CHANNELS * self.patch_size**2

    def weights(self) -> tuple[WeightSpec, ...]:
        """Every weight of tower and projection, in graph order."""
        return tuple(self._weights())

    def parameter_count(self) -> int:
        return sum(math.prod(weight.shape) for weight in self.weights())

    def _weights(self) -> Iterator[WeightSpec]:
        hidden, tower = self.hidden_size, "vision_tower."
        yield WeightSpec(
            f"{tower}patch_embedder.input_proj.weight", (hidden, self.patch_width), Role.PATCHES
        )
        for axis in ("x", "y"):
            name = f"{tower}patch_embedder.position_embedding_table.{axis}"
            yield WeightSpec(name, (self.positions, hidden), Role.POSITIONS)
        for index in range(self.layers):
            yield from self._layer(f"{tower}encoder.layers.{index}.")
        if self.standardize:
            yield WeightSpec(f"{tower}std_bias", (hidden,), Role.VECTOR)
            yield WeightSpec(f"{tower}std_scale", (hidden,), Role.VECTOR)
        shape = (self.text_hidden_size, hidden)
        yield WeightSpec("embed_vision.embedding_projection.weight", shape, Role.TOWER_LINEAR)

    def _layer(self, prefix: str) -> Iterator[WeightSpec]:
        hidden, inner, wide = self.hidden_size, self.intermediate_size, self.heads * self.head_dim

        def norm(name: str, width: int) -> WeightSpec:
            return WeightSpec(f"{prefix}{name}.weight", (width,), Role.VECTOR)

        yield norm("input_layernorm", hidden)
        for part in ("q_proj", "k_proj", "v_proj"):
            yield from self._linear(f"{prefix}self_attn.{part}", wide, hidden)
        yield norm("self_attn.q_norm", self.head_dim)
        yield norm("self_attn.k_norm", self.head_dim)
        yield from self._linear(f"{prefix}self_attn.o_proj", hidden, wide)
        yield norm("post_attention_layernorm", hidden)
        yield norm("pre_feedforward_layernorm", hidden)
        yield from self._linear(f"{prefix}mlp.gate_proj", inner, hidden)
        yield from self._linear(f"{prefix}mlp.up_proj", inner, hidden)
        yield from self._linear(f"{prefix}mlp.down_proj", hidden, inner)
        yield norm("post_feedforward_layernorm", hidden)

    def _linear(self, name: str, out: int, inputs: int) -> Iterator[WeightSpec]:
        yield WeightSpec(f"{name}.linear.weight", (out, inputs), Role.TOWER_LINEAR)
        if self.clipped:
            for bound in BOUNDS:
                yield WeightSpec(f"{name}.{bound}", (1,), Role.VECTOR)


BOUNDS = ("input_min", "input_max", "output_min", "output_max")


@dataclass(frozen=True)
class PatchEmbedderSpec:
    """Gemma 4 12B's embedder: a square of kernel x kernel patches is one row, already put together by the
    processor. width: of the embedder. positions: rows of each of the two tables."""

    width: int
    patch_size: int
    kernel: int
    layer_norm_eps: float
    norm_eps: float
    positions: int
    text_hidden_size: int
    tokens: ImageTokens

    model_type = "gemma4_unified_vision"

    @property
    def patch_width(self) -> int:
        """Numbers in a square of patches."""
        return CHANNELS * (self.patch_size * self.kernel) ** 2

    def weights(self) -> tuple[WeightSpec, ...]:
        """Every weight, in graph order."""
        return tuple(self._weights())

    def parameter_count(self) -> int:
        return sum(math.prod(weight.shape) for weight in self.weights())

    def _weights(self) -> Iterator[WeightSpec]:
        prefix = "vision_embedder."
        yield from _biased_norm(f"{prefix}patch_ln1", self.patch_width)
        yield WeightSpec(f"{prefix}patch_dense.weight", (self.width, self.patch_width), Role.TOWER_LINEAR)
        yield WeightSpec(f"{prefix}patch_dense.bias", (self.width,), Role.VECTOR)
        yield from _biased_norm(f"{prefix}patch_ln2", self.width)
        for axis in ("x", "y"):
            shape = (self.positions, self.width)
            yield WeightSpec(f"{prefix}pos_embedding.{axis}", shape, Role.POSITIONS)
        yield from _biased_norm(f"{prefix}pos_norm", self.width)
        shape = (self.text_hidden_size, self.width)
        name = f"{prefix}multimodal_embedder.embedding_projection.weight"
        yield WeightSpec(name, shape, Role.TOWER_LINEAR)


VisionSpec = SiglipSpec | PatchTowerSpec | PatchEmbedderSpec
"""An image tower, of whichever kind."""


def _biased(name: str, out: int, inputs: int) -> Iterator[WeightSpec]:
    yield WeightSpec(f"{name}.weight", (out, inputs), Role.TOWER_LINEAR)
    yield WeightSpec(f"{name}.bias", (out,), Role.VECTOR)


def _biased_norm(name: str, width: int) -> Iterator[WeightSpec]:
    yield WeightSpec(f"{name}.weight", (width,), Role.VECTOR)
    yield WeightSpec(f"{name}.bias", (width,), Role.VECTOR)
