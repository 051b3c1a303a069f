"""The decoder's functions in a Core ML program.

    main      inputIds, causalMask -> logits: the names and calls of swift-transformers
    images    inputEmbeds, causalMask, imageBlocks, perLayerRows -> logits: the same decoder of what stands
              in tokens' places; the last two only where the model has image blocks or per-layer rows
    sounds    the same, of a release that takes sounds and no images: it never has blocks
    embed     inputIds -> inputEmbeds, perLayerRows: what `images` takes, of tokens

`inputEmbeds` are as layers take them in: embeddings of tokens times sqrt(hidden), as `embed` returns them,
rows of images and sounds as their towers return them. At such positions, per-layer rows are those of token
0. `imageBlocks` [1, end] says of every position which image it is of: 0 for text and sounds, n for the
n-th; a call holds whole images, and a sound may be cut. Not about how a module becomes a program
(`traced_program`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from exporter.lowering.coreml.cache_states import CacheGroup, CacheStates, cache_groups
from exporter.lowering.coreml.dialect import CoreMlDialect, GraphConstants, NumberedImages, constants
from exporter.lowering.coreml.traced_program import ConvertedProgram, Input, Length, Traceable, to_program
from exporter.models.text.decoder import decode, decode_embedded, embed, embed_per_layer
from exporter.models.text.spec import ModelSpec
from exporter.models.vision.spec import BlockLayers

TOKENS, MASK, LOGITS = "inputIds", "causalMask", "logits"
EMBEDDED, PER_LAYER, BLOCKS = "inputEmbeds", "perLayerRows", "imageBlocks"
IMAGES, SOUNDS, EMBED = "images", "sounds", "embed"  # functions beside the one for tokens

# Tokens and cache length of the traced call: different, and not 1, so that none passes for another.
TRACED_LENGTHS = (3, 5)


def convert(
    spec: ModelSpec, gains: Mapping[str, NDArray[np.float32]], context: int, residual_scale: float
) -> ConvertedProgram:
    """The function for tokens."""
    parts = _Parts.of(spec, gains, context, residual_scale)
    count, _ = TRACED_LENGTHS
    tokens = Input(TOKENS, torch.zeros((1, count), dtype=torch.int32), (1, parts.length("tokens")))
    matrices = {weight.name: weight.shape for weight in spec.weights() if weight.is_matrix}
    module = _Decoder(parts, tuple(matrices))
    return to_program(Traceable(module, (tokens, parts.mask), matrices, _states(parts.groups), (LOGITS,)))


def convert_for_rows(
    spec: ModelSpec,
    gains: Mapping[str, NDArray[np.float32]],
    context: int,
    residual_scale: float,
    blocks: BlockLayers | None,
) -> dict[str, ConvertedProgram]:
    """The functions for prompts with images and sounds, by name. blocks: None without images."""
    parts = _Parts.of(spec, gains, context, residual_scale)
    name = SOUNDS if blocks is None else IMAGES
    return {name: _embedded(parts, blocks or "none"), EMBED: _embed(parts)}


@dataclass(frozen=True)
class _Parts:
    """What the functions of one decoder have in common."""

    spec: ModelSpec
    context: int
    residual_scale: float
    constants: GraphConstants
    groups: Sequence[CacheGroup]

    @classmethod
    def of(
        cls,
        spec: ModelSpec,
        gains: Mapping[str, NDArray[np.float32]],
        context: int,
        residual_scale: float,
    ) -> _Parts:
        small = {name: torch.from_numpy(gain) for name, gain in gains.items()}
        made = constants(spec, small, context, residual_scale)
        return cls(spec, context, residual_scale, made, cache_groups(spec, context))

    def length(self, symbol: str) -> Length:
        return Length(symbol, 1, self.context, default=1)

    @property
    def mask(self) -> Input:
        example = torch.zeros((1, 1, *TRACED_LENGTHS))
        return Input(MASK, example, (1, 1, self.length("rows"), self.length("end")))

    @property
    def per_layer(self) -> Input | None:
        """Rows of the second embedding, for models that have one."""
        ple, layers = self.spec.per_layer_embedding, len(self.spec.layers)
        if ple is None:
            return None
        example = torch.zeros((1, TRACED_LENGTHS[0], layers, ple.width))
        return Input(PER_LAYER, example, (1, self.length("tokens"), layers, ple.width))

    @property
    def embeddings(self) -> tuple[str, ...]:
        """Matrices whose rows are looked up."""
        if self.spec.per_layer_embedding is None:
            return (self.spec.embedding_name,)
        return (self.spec.embedding_name, self.spec.per_layer_embedding_name)


def _embedded(parts: _Parts, blocks: BlockLayers) -> ConvertedProgram:
    spec, (count, end) = parts.spec, TRACED_LENGTHS
    example = torch.zeros((1, count, spec.hidden_size))
    inputs = [Input(EMBEDDED, example, (1, parts.length("tokens"), spec.hidden_size)), parts.mask]
    if blocks != "none":
        example = torch.zeros((1, end), dtype=torch.int32)
        inputs.append(Input(BLOCKS, example, (1, parts.length("end"))))
    if parts.per_layer is not None:
        inputs.append(parts.per_layer)
    looked_up = {name for name in parts.embeddings if name != spec.head_name}
    matrices = {
        weight.name: weight.shape
        for weight in spec.weights()
        if weight.is_matrix and weight.name not in looked_up
    }
    module = _EmbeddedDecoder(parts, tuple(matrices), tuple(each.name for each in inputs), blocks)
    return to_program(Traceable(module, tuple(inputs), matrices, _states(parts.groups), (LOGITS,)))


def _embed(parts: _Parts) -> ConvertedProgram:
    count, _ = TRACED_LENGTHS
    tokens = Input(TOKENS, torch.zeros((1, count), dtype=torch.int32), (1, parts.length("tokens")))
    shapes = {weight.name: weight.shape for weight in parts.spec.weights()}
    matrices = {name: shapes[name] for name in parts.embeddings}
    outputs = (EMBEDDED,) if parts.per_layer is None else (EMBEDDED, PER_LAYER)
    return to_program(Traceable(_Embedding(parts, tuple(matrices)), (tokens,), matrices, {}, outputs))


class _Decoder(torch.nn.Module):
    """The decoder as a module: buffers become states, the matrices come in as arguments."""

    def __init__(self, parts: _Parts, names: tuple[str, ...]) -> None:
        super().__init__()
        self._parts, self._names = parts, names
        for state, (layers, batch, kv_heads, slots, head_dim) in _states(parts.groups).items():
            # Of the slots, only as many as the traced call reaches.
            shape = (layers, batch, kv_heads, min(slots, TRACED_LENGTHS[1]), head_dim)
            self.register_buffer(state, torch.zeros(shape))

    def forward(self, tokens: Tensor, mask: Tensor, *matrices: Tensor) -> Tensor:
        return decode(self._parts.spec, self._ops(tokens.shape[1], mask, matrices), tokens)

    def _ops(
        self, count: int, mask: Tensor, matrices: Sequence[Tensor], blocks: NumberedImages | None = None
    ) -> CoreMlDialect:
        start = mask.shape[-1] - count
        return CoreMlDialect(
            spec=self._parts.spec,
            residual_scale=self._parts.residual_scale,
            weights=dict(zip(self._names, matrices, strict=True)),
            constants=self._parts.constants,
            caches=CacheStates(self._parts.groups, dict(self.named_buffers()), start, count),
            mask=mask,
            tokens=count,
            blocks=blocks,
        )


class _EmbeddedDecoder(_Decoder):
    """The same decoder of what `embed` and a tower return. inputs: names of what comes before matrices."""

    def __init__(
        self, parts: _Parts, names: tuple[str, ...], inputs: tuple[str, ...], blocks: BlockLayers
    ) -> None:
        super().__init__(parts, names)
        self._inputs, self._everywhere = inputs, blocks == "all"

    def forward(self, *given: Tensor) -> Tensor:
        inputs = dict(zip(self._inputs, given, strict=False))
        embedded = inputs[EMBEDDED]
        numbers = inputs.get(BLOCKS)
        blocks = None if numbers is None else NumberedImages(numbers, self._everywhere)
        ops = self._ops(embedded.shape[1], inputs[MASK], given[len(inputs) :], blocks)
        return decode_embedded(self._parts.spec, ops, embedded, inputs.get(PER_LAYER))


class _Embedding(torch.nn.Module):
    """Tokens to what the decoder takes in."""

    def __init__(self, parts: _Parts, names: tuple[str, ...]) -> None:
        super().__init__()
        self._parts, self._names = parts, names

    def forward(self, tokens: Tensor, *matrices: Tensor) -> tuple[Tensor, ...] | Tensor:
        spec = self._parts.spec
        ops = _Lookup(dict(zip(self._names, matrices, strict=True)), self._parts.constants)
        embedded = embed(spec, ops, tokens)
        if spec.per_layer_embedding is None:
            return embedded
        return embedded, embed_per_layer(spec, spec.per_layer_embedding, ops, tokens)


@dataclass(frozen=True)
class _Lookup:
    """Satisfies `Lookup`."""

    weights: Mapping[str, Tensor]
    constants: GraphConstants

    def embed(self, tokens: Tensor, weight: str) -> Tensor:
        return F.embedding(tokens, self.weights[weight])

    def vector(self, name: str) -> Tensor:
        return self.constants.gains[name, 1.0]


def _states(groups: Sequence[CacheGroup]) -> dict[str, tuple[int, int, int, int, int]]:
    """Shape of every state."""
    return {state: group.shape for group in groups for state in (group.key_state, group.value_state)}
