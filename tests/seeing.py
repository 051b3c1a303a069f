"""Named stand-ins that see: a lowering whose archive holds a tower too, tower and decoder in plain torch.

As `tests.fakes` has them for text. The wrong ones do each what goes wrong in a conversion: positions the
wrong way round, pixels scaled twice, rows in another order, no block of an image, another image's rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from exporter.formats.rows_driver import RowsDriver
from exporter.lowering.interface import LoweringOrder
from exporter.models.text.decoder import decode_embedded, embed, embed_per_layer
from exporter.models.text.eager import EagerDialect, EagerState
from exporter.models.text.spec import LayerSpec, ModelSpec
from exporter.models.vision.eager import EagerVision
from exporter.models.vision.spec import BlockLayers, VisionSpec
from exporter.models.vision.tower import image_rows
from exporter.progress import Progress
from runtimes.encoder import EncodedRows, EncoderFacts
from runtimes.images.prepared import PreparedImage
from runtimes.manifest import Artifact, EncoderArtifact
from runtimes.multimodal.session import PlacedRows
from runtimes.session import Logits, Tokens
from tests.fakes import ARCHIVE, ArchiveLowering, EagerSession, dequantised, eager_driver, read_archive

LONGEST_CALL = 64  # tokens with images in them


class SeeingLowering(ArchiveLowering):
    """Satisfies `Lowering` and `MakesTowerTwins`: one archive for text and tower, as a bundle is."""

    def lower(self, request: LoweringOrder, out: Path, progress: Progress) -> tuple[Artifact, ...]:
        (artifact,) = super().lower(request, out, progress)
        arrays: dict[str, Any] = read_archive(out / ARCHIVE)
        arrays |= request.checkpoint.components["vision"].vectors
        np.savez(out / ARCHIVE, **arrays)
        return (artifact,)

    def encoders(self, order: LoweringOrder) -> tuple[EncoderArtifact, ...]:
        assert order.images is not None
        width = order.checkpoint.components["text"].spec.hidden_size
        return (EncoderArtifact("vision", "onnx", ARCHIVE, ARCHIVE, order.images.soft_tokens, width),)

    def tower_twin(self, release: Path, encoder: EncoderArtifact, out: Path) -> EncoderArtifact:
        arrays: dict[str, Any] = dequantised(read_archive(release / encoder.path))
        np.savez(out / encoder.path, **arrays)
        return encoder


class EagerTower:
    """Satisfies `ImageEncoder` with a tower in plain torch over an archive's weights."""

    def __init__(self, spec: VisionSpec, weights: Mapping[str, Tensor]) -> None:
        self.spec, self.weights = spec, weights

    @classmethod
    def open(cls, path: Path, spec: VisionSpec) -> Self:
        arrays = dequantised(read_archive(path))
        return cls(spec, {name: torch.from_numpy(values) for name, values in arrays.items()})

    @property
    def facts(self) -> EncoderFacts:
        return EncoderFacts("eager torch", torch.__version__, "fp32", {}, {})

    def rows(self, image: PreparedImage) -> EncodedRows:
        positions = None if image.positions is None else torch.as_tensor(image.positions).long()
        with torch.no_grad():
            found = image_rows(
                self.spec,
                EagerVision(self.weights),
                torch.as_tensor(image.pixels),
                positions,
                image.soft_tokens,
            )
        rows: EncodedRows = found[0].numpy()
        return rows

    def close(self) -> None:
        """Nothing is held."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class PositionsSwapped(EagerTower):
    """x for y."""

    def rows(self, image: PreparedImage) -> EncodedRows:
        assert image.positions is not None
        return super().rows(replace(image, positions=image.positions[..., ::-1].copy()))


class PixelsScaledTwice(EagerTower):
    """What is in [-1, 1] already is brought there once more."""

    def rows(self, image: PreparedImage) -> EncodedRows:
        return super().rows(replace(image, pixels=image.pixels * 2 - 1))


class RowsPooledInAnotherOrder(EagerTower):
    """Columns before lines."""

    def rows(self, image: PreparedImage) -> EncodedRows:
        rows, side = super().rows(image), 2
        return rows.reshape(side, -1, rows.shape[1]).swapaxes(0, 1).reshape(rows.shape)


class OneForAll(EagerTower):
    """Gives the first picture's rows for every other one."""

    def rows(self, image: PreparedImage) -> EncodedRows:
        self.first = getattr(self, "first", image)
        return super().rows(self.first)


@dataclass
class _BlockDialect(EagerDialect):
    """blocks: of each token of the call, the number of its image, -1 for text."""

    blocks: Tensor | None = None
    where: BlockLayers = "none"

    def seen(self, layer: LayerSpec, at: Tensor, positions: Tensor) -> Tensor:
        causal = super().seen(layer, at, positions)
        everywhere = self.where == "all" or (self.where == "sliding" and layer.window is not None)
        if self.blocks is None or not everywhere:
            return causal
        inside = positions - at[0]
        known = (inside >= 0) & (inside < len(self.blocks))
        of_keys = torch.where(known, self.blocks[inside.clamp(0, len(self.blocks) - 1)], -1)
        both = (self.blocks[:, None] == of_keys[None]) & (of_keys >= 0)[None]
        within = True if layer.window is None else at[:, None] - positions[None] < layer.window
        return causal | (both & within)


class EagerMultimodalSession(EagerSession):
    """Satisfies `MultimodalSession`; a call with images is one call of the graph."""

    vision: VisionSpec

    def reset(self) -> None:
        self._state = EagerState.empty(self.spec, self._facts.context, LONGEST_CALL)

    def prefill_with_rows(self, tokens: Tokens, images: Sequence[PlacedRows]) -> Logits:
        ids = torch.from_numpy(tokens.astype(np.int64))
        blocks = torch.full((len(tokens),), -1)
        for number, image in enumerate(images):
            blocks[image.start : image.stop] = number
        ops = _BlockDialect(
            self.spec, self.weights, self._state, blocks=self.block_numbers(blocks), where=self.where
        )
        ids = ids.masked_fill(blocks >= 0, 0)[None]
        embedded = embed(self.spec, ops, ids).clone()
        for image in self.placed(images):
            embedded[0, image.start : image.stop] = torch.as_tensor(image.rows)
        ple = self.spec.per_layer_embedding
        rows = None if ple is None else embed_per_layer(self.spec, ple, ops, ids)
        with torch.no_grad():
            logits: Logits = decode_embedded(self.spec, ops, embedded, rows)[0].numpy()
        self._state.position += len(tokens)
        return logits if self._facts.prefill_logits == "all" else logits[-1:]

    @property
    def where(self) -> BlockLayers:
        return self.vision.tokens.blocks

    def block_numbers(self, blocks: Tensor) -> Tensor:
        return blocks

    def placed(self, images: Sequence[PlacedRows]) -> Sequence[PlacedRows]:
        return images


class WithoutBlocks(EagerMultimodalSession):
    """Sees an image only backwards, as text."""

    def block_numbers(self, blocks: Tensor) -> Tensor:
        return torch.full_like(blocks, -1)


class RowsOfTheOtherImage(EagerMultimodalSession):
    """Of two images, each gets the other's rows."""

    def placed(self, images: Sequence[PlacedRows]) -> Sequence[PlacedRows]:
        others = images[::-1]
        return [PlacedRows(each.start, other.rows) for each, other in zip(images, others, strict=True)]


class Blind(EagerMultimodalSession):
    """Puts nothing in the place of an image."""

    def placed(self, images: Sequence[PlacedRows]) -> Sequence[PlacedRows]:
        return [PlacedRows(each.start, each.rows * 0) for each in images]


def eager_image_driver(
    spec: ModelSpec,
    vision: VisionSpec,
    tower: type[EagerTower] = EagerTower,
    session: type[EagerMultimodalSession] = EagerMultimodalSession,
) -> RowsDriver:
    """A driver that opens archives of this model."""

    def open_tower(directory: Path, encoder: EncoderArtifact, artifact: Artifact) -> EagerTower:
        return tower.open(directory / encoder.path, vision)

    def open_session(
        directory: Path, encoder: EncoderArtifact, artifact: Artifact
    ) -> EagerMultimodalSession:
        opened = session.open(directory / encoder.decoder, artifact, spec)
        opened.vision = vision
        return opened

    return RowsDriver(eager_driver(spec), open_tower, open_session)
