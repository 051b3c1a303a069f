"""Norm gains, scalars and the embedding's columns as the quantised checkpoint keeps them.

Core ML's programs hold them in half precision. So that every runtime computes with the same numbers and
the reference does too, they are rounded here, once: what is half precision is what the decoder
multiplies by (`QuantizedCheckpoint.gains`: 1 + w where the family adds it), the file keeps it in F32 as
transformers reads it. Published gains of Gemma 4 are bfloat16 and lose nothing; 1 + w of Gemma 3 270M
is rounded at one weight in a hundred, a mean KL divergence of 5e-8.

Not for a plan that stores a matrix in fp32: who asks for that gets exact vectors, and not Core ML.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from exporter.checkpoints.interface import CheckpointSource, Vector
from exporter.errors import CheckpointError
from exporter.models.components import Tower
from exporter.models.text.spec import COLUMNS_NAME, Role
from exporter.schemes import FP32, Scheme

FINAL_NORM = "model.norm.weight"


def stored_vectors(source: CheckpointSource, schemes: Mapping[str, Scheme]) -> dict[str, Vector]:
    """Every vector of the text model by name, as it is to be stored.

    Raises CheckpointError for a gain that half precision cannot hold.
    """
    spec = source.components["text"].spec
    weights = [weight for weight in spec.weights() if not weight.is_matrix]
    vectors = {weight.name: source.rows(weight.name, 0, weight.shape[0]) for weight in weights}
    if FP32 in schemes.values():
        return vectors
    columns = vectors[COLUMNS_NAME] if spec.embedding_columns else np.float32(1.0)
    for weight in weights:
        added = np.float32(1.0 if spec.norm_adds_one and weight.role is Role.NORM else 0.0)
        # The head's inputs are multiplied by the final gain and the embedding's columns in one.
        factor = columns if weight.name == FINAL_NORM else np.float32(1.0)
        gain = _halves(weight.name, (vectors[weight.name] + added) * factor)
        vectors[weight.name] = gain / factor - added
    return vectors


def tower_vectors(source: CheckpointSource, tower: Tower) -> dict[str, Vector]:
    """Every vector of a tower by name, as it is."""
    weights = (each for each in tower.weights if not each.is_matrix)
    return {each.name: source.rows(each.name, 0, each.shape[0]) for each in weights}


def _halves(name: str, values: Vector) -> Vector:
    with np.errstate(over="ignore"):  # refused just below
        half = values.astype(np.float16)
    if not np.isfinite(half).all():
        raise CheckpointError(
            name,
            f"a gain of {np.abs(values).max():.3g} is beyond fp16's 65504",
            "store a matrix in fp32 in a recipe of your own, which keeps gains exact, for LiteRT or ONNX",
        )
    return half.astype(np.float32)
