"""Named stand-ins that see: towers in plain torch over an archive's weights.

The wrong ones do each what goes wrong in a conversion: positions the wrong way round, pixels scaled twice,
rows in another order, no block of an image, another image's rows. Not about decoders (`tests.sensing`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from exporter.models.vision.eager import EagerVision
from exporter.models.vision.spec import VisionSpec
from exporter.models.vision.tower import image_rows
from runtimes.encoder import EncodedRows
from runtimes.images.prepared import PreparedImage
from runtimes.multimodal.session import PlacedRows
from tests.sensing import EagerArchive, EagerMultimodalSession


class EagerTower(EagerArchive[VisionSpec]):
    """Satisfies `ImageEncoder` with a tower in plain torch."""

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


class WithoutBlocks(EagerMultimodalSession):
    """Sees an image only backwards, as text."""

    both_ways = frozenset()


class RowsOfTheOtherImage(EagerMultimodalSession):
    """Of two images, each gets the other's rows."""

    def placed(self, placed: Sequence[PlacedRows]) -> Sequence[PlacedRows]:
        others = placed[::-1]
        return [replace(each, rows=other.rows) for each, other in zip(placed, others, strict=True)]
