"""`ImageDriver`: one way a format's image artifacts are executed in a validation, and what it may stray.

Beside `Driver`, whose arithmetic it has. Not about measuring (`exporter.validation.image_check`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from exporter.formats.family import Arithmetic, Driver
from exporter.formats.table import drivers_of
from runtimes.formats import Format
from runtimes.images.prepared import ImageEncoder
from runtimes.manifest import Artifact, EncoderArtifact
from runtimes.multimodal.session import MultimodalSession
from runtimes.open import MULTIMODAL_SESSIONS, open_image_encoder, open_multimodal_session
from runtimes.opening import EncoderOpening

THREADS = 2


@dataclass(frozen=True)
class RowsLimit:
    """How far rows of a tower may be from others. relative: of the difference's length as a share of a
    row's, on the mean. cosine: of the row that points farthest away."""

    relative: float
    cosine: float


ROWS_LIMITS: dict[Arithmetic, RowsLimit] = {
    "fp32": RowsLimit(relative=0.05, cosine=0.99),
    "fp16": RowsLimit(relative=0.05, cosine=0.99),
}
"""An artifact's rows against transformers' on the quantised tower. Both leave room for kernels that round
activations to int8 (1e-2 to 2e-2; fp32 measures 1e-6): positions that are swapped, or pixels scaled twice,
give more."""

TWIN_ROWS: dict[Arithmetic, RowsLimit] = {
    "fp32": RowsLimit(relative=1e-3, cosine=0.9999),
    "fp16": RowsLimit(relative=0.05, cosine=0.99),
}
"""A tower's float twin against the same: fp32 sums in another order measure up to 1e-5."""

QUANTISED_ROWS = RowsLimit(relative=0.1, cosine=0.98)
"""transformers on the quantised tower against transformers on the original one."""


@dataclass(frozen=True)
class ImageDriver:
    """driver: the text's, of the same arithmetic and limits. open_encoder, open_session: (directory,
    encoder, the format's text artifact) to what makes rows, and to what takes them."""

    driver: Driver
    open_encoder: Callable[[Path, EncoderArtifact, Artifact], ImageEncoder]
    open_session: Callable[[Path, EncoderArtifact, Artifact], MultimodalSession]

    @property
    def rows_limit(self) -> RowsLimit:
        return ROWS_LIMITS[self.driver.arithmetic]

    @property
    def twin_limit(self) -> RowsLimit:
        return TWIN_ROWS[self.driver.arithmetic]


def image_drivers_of(format: Format) -> tuple[ImageDriver, ...]:
    """Every way images are tried with this format; none where it takes none."""
    return tuple(map(_of, drivers_of(format))) if format in MULTIMODAL_SESSIONS else ()


def _of(driver: Driver) -> ImageDriver:
    def opening(release: Path, encoder: EncoderArtifact, artifact: Artifact) -> EncoderOpening:
        return EncoderOpening(release, encoder, artifact, THREADS, driver.arithmetic)

    return ImageDriver(
        driver,
        lambda *asked: open_image_encoder(opening(*asked)),
        lambda *asked: open_multimodal_session(opening(*asked)),
    )
