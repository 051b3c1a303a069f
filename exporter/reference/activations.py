"""What enters each linear of the original model: the RMS of each input, on calibration text.

Measured on transformers' own modules through the streamed reference. Not about what is done with it
(`exporter.quantization.transforms.equalization`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from exporter.checkpoints.interface import CheckpointSource
from exporter.progress import Progress
from exporter.reference.streamed import StreamedReference
from exporter.reference.weights import OriginalWeights
from runtimes.session import Tokens


def input_sizes(
    source: CheckpointSource, tokens: Tokens, progress: Progress
) -> dict[str, NDArray[np.float32]]:
    """Linear's weight name to the RMS of each input over `tokens`, [in]."""
    reference = StreamedReference(OriginalWeights(source))
    found: dict[str, NDArray[np.float32]] = {}
    handles = []
    for name, module in reference.model.model.named_modules(prefix="model"):
        if isinstance(module, nn.Linear):
            handles.append(module.register_forward_pre_hook(_recorder(f"{name}.weight", found)))
    progress("measure activations", 0, 1)
    with torch.inference_mode():
        reference.model.model(
            input_ids=torch.from_numpy(np.asarray(tokens, np.int64))[None], use_cache=False
        )
    progress("measure activations", 1, 1)
    for handle in handles:
        handle.remove()
    return found


def _recorder(
    name: str, found: dict[str, NDArray[np.float32]]
) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    def record(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        width = inputs[0].shape[-1]
        found[name] = inputs[0].reshape(-1, width).square().mean(dim=0).sqrt().numpy().copy()

    return record
