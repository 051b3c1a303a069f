"""`StoredSize`: what a quantised checkpoint takes, in bytes and in bits for each weight.

Scales, zero points, norms and the vector of an equalised embedding count, headers of files do not. Not
about what an artifact made of it takes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from exporter.models.text.spec import Role
from exporter.quantization.store.checkpoint import QuantizedCheckpoint


@dataclass(frozen=True)
class StoredSize:
    """nbytes: of every tensor. bits: for each weight. linear_bits: for each weight of the linears alone."""

    nbytes: int
    bits: float
    linear_bits: float


def stored_size(checkpoint: QuantizedCheckpoint) -> StoredSize:
    """Of all components together."""
    stored = {name: each.scheme.stored_bytes(each.shape) for name, each in checkpoint.matrices.items()}
    linears = {
        weight.name
        for part in checkpoint.components.values()
        for weight in part.component.weights
        if weight.role is Role.LINEAR
    }
    weights = {name: math.prod(each.shape) for name, each in checkpoint.matrices.items()}
    vectors = checkpoint.vectors.values()
    nbytes = sum(stored.values()) + sum(each.nbytes for each in vectors)
    return StoredSize(
        nbytes,
        8 * nbytes / (sum(weights.values()) + sum(each.size for each in vectors)),
        8 * sum(stored[name] for name in linears) / sum(weights[name] for name in linears),
    )
