"""`RowsDriver`: one way a format's artifacts for images or sounds are executed in a validation, and what it
may stray.

Beside `Driver`, whose arithmetic it has. Not about measuring (`exporter.validation.tower_check`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

from exporter.formats.family import Arithmetic, Driver
from exporter.formats.table import drivers_of
from runtimes.encoder import EncodedRows
from runtimes.manifest import Artifact, ComponentName, EncoderArtifact
from runtimes.multimodal.session import MultimodalSession
from runtimes.open import (
    IMAGE_ENCODERS,
    SOUND_ENCODERS,
    open_image_encoder,
    open_multimodal_session,
    open_sound_encoder,
)
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

ROUNDING = 40.0
"""Times the KL of the same text without a sample that kernels may stray behind rows; those of this
machine measure up to 22."""

QUANTISED_ROWS = RowsLimit(relative=0.1, cosine=0.98)
"""transformers on the quantised tower against transformers on the original one."""


class RowsEncoder(Protocol):
    """An image tower or an audio encoder."""

    def rows(self, prepared: Any, /) -> EncodedRows:
        """prepared: an image or a sound, whichever it takes."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...


@dataclass(frozen=True)
class RowsDriver:
    """driver: the text's, of the same arithmetic and limits. open_encoder, open_session: (directory,
    encoder, the format's text artifact) to what makes rows, and to what takes them."""

    driver: Driver
    open_encoder: Callable[[Path, EncoderArtifact, Artifact], RowsEncoder]
    open_session: Callable[[Path, EncoderArtifact, Artifact], MultimodalSession]

    @property
    def rows_limit(self) -> RowsLimit:
        return ROWS_LIMITS[self.driver.arithmetic]

    @property
    def twin_limit(self) -> RowsLimit:
        return TWIN_ROWS[self.driver.arithmetic]


def rows_drivers_of(encoder: EncoderArtifact) -> tuple[RowsDriver, ...]:
    """Every way it is tried; none where there is no driver for it."""
    open_encoder = _opener_of(encoder)
    if open_encoder is None:
        return ()
    return tuple(_of(driver, open_encoder) for driver in drivers_of(encoder.format))


EncoderOpener = Callable[[EncoderOpening], RowsEncoder]


def _opener_of(encoder: EncoderArtifact) -> EncoderOpener | None:
    openers: dict[ComponentName, EncoderOpener] = {}
    if encoder.format in IMAGE_ENCODERS:
        openers["vision"] = open_image_encoder
    if encoder.format in SOUND_ENCODERS:
        openers["audio"] = open_sound_encoder
    return openers.get(encoder.component)


def _of(driver: Driver, open_encoder: EncoderOpener) -> RowsDriver:
    def opening(release: Path, encoder: EncoderArtifact, artifact: Artifact) -> EncoderOpening:
        return EncoderOpening(release, encoder, artifact, THREADS, driver.arithmetic)

    return RowsDriver(
        driver,
        lambda *asked: open_encoder(opening(*asked)),
        lambda *asked: open_multimodal_session(opening(*asked)),
    )
