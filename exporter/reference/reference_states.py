"""The reference's hidden states: what enters each decoder layer of transformers' model, layer by layer.

Not about comparing them (`exporter.validation.first_wrong_layer`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from exporter.progress import Progress
from exporter.reference.streamed import StreamedReference
from exporter.reference.weights import ReferenceWeights
from runtimes.session import Tokens

SeeState = Callable[[int, NDArray[np.float32]], None]
"""(number, [tokens, hidden]): what enters the layer of this number; one past the last: the final norm."""


def reference_states(weights: ReferenceWeights, tokens: Tokens, see: SeeState, progress: Progress) -> None:
    """Show `see` every state of one sequence, in order. Peak memory is as `StreamedReference` has it."""
    reference = StreamedReference(weights)
    with torch.inference_mode(), reference.walk(tokens[None]) as walk:
        walk.start()
        for layer in walk.layers():
            see(layer.index, walk.hidden(0)[0].numpy())
            layer.advance()
            progress(f"{weights.description}: hidden states", layer.index + 1, len(walk))
        see(len(walk), walk.hidden(0)[0].numpy())
