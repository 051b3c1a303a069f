"""`Weighted`: nearest codes, at scales for which errors that large inputs meet count more.

An error in column i costs its square times the mean square of input i. Needs little calibration text, and
no more time than `Nearest`. Not about making up for errors (`calibrated`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exporter.errors import CheckpointError
from exporter.quantization.methods.interface import FoundCodes, InputMoments, MatrixRows, MethodRecord
from exporter.quantization.methods.moments_factor import SMALLEST_ENERGY
from exporter.quantization.methods.nearest import quantize_rows
from exporter.schemes import IntegerScheme

VERSION = 5  # 4 summed products of every two inputs, whose last bits are others
SMALLEST_SHARE = 1e-4  # of the mean energy: an input that never varied is not free


@dataclass(frozen=True)
class Weighted:
    """Satisfies `Method`. text: the calibration text's digest."""

    text: str

    @property
    def looks_at_products(self) -> bool:
        return False

    @property
    def record(self) -> MethodRecord:
        return MethodRecord("weighted", VERSION, {"text": self.text})

    def tile(self, inputs: int) -> int:
        return 1

    def find(self, rows: MatrixRows, scheme: IntegerScheme, moments: InputMoments | None) -> FoundCodes:
        importance = None if moments is None else _importance(moments.energy)
        try:
            return quantize_rows(rows.values(), scheme, importance)
        except OverflowError as error:
            raise CheckpointError(rows.name, str(error), "choose fp32 for it in the recipe") from error


def _importance(energy: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """None, for nearest codes, where the text says next to nothing of the matrix."""
    mean = energy.mean()
    if mean < SMALLEST_ENERGY:
        return None
    return np.maximum(energy, np.float32(SMALLEST_SHARE * mean))
