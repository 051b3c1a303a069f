"""What a text graph makes of images and sounds, where LiteRT-LM's masks and lookups are not the model's.

LiteRT-LM gives rows and the token behind them as tokens of no vocabulary. Three things follow:
  (1) the token that ends an image or a sound gets row 0 of the per-layer table; here it gets its own
  (2) a mask opened both ways may reach past a row's image, and Gemma 3's the token that ends it, which
      comes with its rows; here rows see up to that end
  (3) it may reach into the next call, whose part of a cache is empty or of an older text, where an image
      lies in two; here rows see what was written
That token is known by its embedding, which is the very constant that the bundle's end of vision or of audio
(or Gemma 3's adapter) gives. Text without rows is not touched. Not about caches (`cache_tensors`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from exporter.lowering.litert.cache_tensors import OUTSIDE_WINDOW, WINDOW_NAME
from exporter.lowering.litert.operations import Operations
from exporter.models.vision.spec import BlockLayers
from exporter.quantization.store.checkpoint import StoredText


@dataclass(frozen=True)
class EndToken:
    """A token behind rows. embedding: as the decoder takes it, [hidden]. rows: of the per-layer table,
    [layers, width]; None for models without."""

    embedding: NDArray[np.float32]
    rows: NDArray[np.float32] | None

    @staticmethod
    def of(text: StoredText, token: int) -> EndToken:
        name, spec = text.spec.embedding_name, text.spec
        (row,) = text.matrices[name].values(token, token + 1)
        scaled = row * text.columns(name) * np.float32(spec.embedding_scale)
        embedding = np.asarray(scaled, np.float32)
        if (ple := spec.per_layer_embedding) is None:
            return EndToken(embedding, None)
        (rows,) = text.matrices[spec.per_layer_embedding_name].values(token, token + 1)
        scaled = rows * np.float32(math.sqrt(ple.width))
        return EndToken(embedding, np.asarray(scaled.reshape(len(spec.layers), ple.width), np.float32))


@dataclass(frozen=True)
class ImagesInText:
    """blocks: layers in which tokens of one image see each other. end: the token that ends an image."""

    blocks: BlockLayers
    end: EndToken

    @property
    def both_ways(self) -> bool:
        """Whether masks tell what positions do not."""
        return self.blocks != "none"


@dataclass(frozen=True)
class RowsInText:
    """What a text model takes beside tokens. sound_end: the token that ends a sound, None where none are
    taken."""

    images: ImagesInText | None
    sound_end: EndToken | None

    @property
    def ends(self) -> Iterator[EndToken]:
        """An image's first, where there are any."""
        if self.images is not None:
            yield self.images.end
        if self.sound_end is not None:
            yield self.sound_end


@dataclass(frozen=True)
class GraphMarks:
    """One signature's ends of images and sounds. ends: for each of `rows.ends` [1, tokens, 1], 1 where a
    token is that one, else 0."""

    ops: Operations
    rows: RowsInText
    ends: tuple[Tensor, ...]

    @classmethod
    def of(cls, ops: Operations, rows: RowsInText, embedded: Tensor) -> GraphMarks:
        """embedded: [1, tokens, hidden]."""
        return cls(ops, rows, tuple(_places_of(ops, end, embedded) for end in rows.ends))

    def with_own_rows(self, rows: Tensor) -> Tensor:
        """(1) rows: [1, tokens, layers, width]."""
        ops, tokens = self.ops, rows.shape[1]
        for end, places in zip(self.rows.ends, self.ends, strict=True):
            if end.rows is None:
                continue
            ends = ops.reshape(places, [1, tokens, 1, 1])
            others = ops.add(ops.multiply(ends, -1.0), 1.0)
            # By factors of 0 and 1: exact, and XNNPACK's, unlike a selection.
            rows = ops.add(ops.multiply(rows, others), ops.multiply(ends, ops.graph.constant(end.rows)))
        return rows

    def closed(self, mask: Tensor, positions: Tensor) -> Tensor:
        """(2), (3) mask: [1, 1, tokens, context]. positions: [tokens] int32."""
        ops, (tokens, context) = self.ops, mask.shape[2:]
        if self.rows.images is None or tokens == 1:  # a caller's mask of one token ends with it
            return mask
        every = ops.graph.constant(np.arange(context, dtype=np.int32).reshape(1, 1, 1, context))
        outside = ops.graph.constant(np.array(OUTSIDE_WINDOW, np.float32), WINDOW_NAME)
        # Of one entry and not of none: LiteRT's GPU accelerator adds nothing to a scalar.
        first = ops.slice(positions, 0, 0, 1)
        unwritten = ops.greater_equal(every, ops.reshape(ops.add(first, tokens), [1, 1, 1, 1]))
        mask = ops.add(mask, ops.select(unwritten, outside, ops.scalar(0.0)))
        # How many images ended up to each token, and of the context: a row sees none of what has more.
        ended = ops.running_sum(ops.reshape(self.ends[0], [1, 1, 1, tokens]))
        # Before the call as many as up to its first token, which is no more than any of its rows has.
        token = ops.subtract(ops.graph.constant(np.arange(context, dtype=np.int32)), first)
        by_slot = ops.gather(ended, ops.minimum(ops.maximum(token, 0), tokens - 1), 3)
        more = ops.subtract(by_slot, ops.reshape(ended, [1, 1, tokens, 1]))
        past = ops.minimum(ops.maximum(more, 0.0), 1.0)
        return ops.add(mask, ops.multiply(past, OUTSIDE_WINDOW))


def _places_of(ops: Operations, end: EndToken, embedded: Tensor) -> Tensor:
    strays = ops.largest(ops.absolute(ops.subtract(embedded, ops.graph.constant(end.embedding))))
    same = ops.greater_equal(ops.multiply(strays, -1.0), 0.0)
    return ops.select(same, ops.scalar(1.0), ops.scalar(0.0))


def masks_of_call(
    ops: Operations, count: int, context: int, images: ImagesInText | None
) -> tuple[Tensor, Tensor | None]:
    """Declares the masks of a signature: of full layers, and of sliding ones where positions do not tell.

    Neither knows of windows: what LiteRT-LM 0.18 makes of one in a mask is not what a model sees.
    """
    shape = (1, 1, count, context)
    mask = ops.graph.input("mask", shape, torch.float32)
    if images is None or not images.both_ways:
        return mask, None
    if images.blocks == "all":
        return mask, mask
    return mask, ops.graph.input("local_mask", shape, torch.float32)
