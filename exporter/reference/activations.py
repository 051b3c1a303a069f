"""What enters each linear of the original model: the RMS of each input, on calibration text.

Measured on transformers' own modules through the streamed reference. Not about what is done with it
(`exporter.quantization.transforms.equalization`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from exporter.checkpoints.interface import CheckpointSource
from exporter.progress import Progress
from exporter.reference.moments import require_finite_inputs
from exporter.reference.streamed import StreamedReference
from exporter.reference.weights import OriginalWeights


def input_sizes(
    source: CheckpointSource, tokens: NDArray[np.int32], progress: Progress
) -> dict[str, NDArray[np.float32]]:
    """Linear's weight name to the RMS of each input over tokens [batch, length] or [length], [in].

    Raises ReferenceModelError for a linear whose inputs are not finite.
    """
    sizes = _InputSizes({})
    progress("measure activations", 0, 1)
    StreamedReference(OriginalWeights(source)).watch(np.atleast_2d(tokens), sizes)
    progress("measure activations", 1, 1)
    return sizes.found


class _InputSizes:
    """Satisfies `LinearWatch`, for one batch."""

    def __init__(self, found: dict[str, NDArray[np.float32]]) -> None:
        self.found = found

    def enters(self, weight: str, inputs: Tensor) -> None:
        flat = inputs.reshape(-1, inputs.shape[-1])
        sizes = flat.square().mean(dim=0).sqrt()
        require_finite_inputs(weight, sizes)
        self.found[weight] = sizes.numpy().copy()

    def leaves(self, weight: str, outputs: Tensor) -> None:
        """Nothing to measure."""
