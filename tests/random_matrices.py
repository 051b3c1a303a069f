"""Matrices of random codes, scales and zero points, as a quantised checkpoint stores them.

Every code and zero point of a scheme's width comes up: no method of quantising would choose most of them.
Not about quantising (`tests.tiny_stores`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from exporter.models.text.spec import Role, WeightSpec
from exporter.quantization.store.checkpoint import (
    IntegerMatrix,
    QuantizedCheckpoint,
    StoredComponents,
    StoredText,
    open_matrix,
)
from exporter.quantization.store.layout import (
    PACKED,
    SCALE,
    SHAPE,
    ZERO_POINT,
    matrix_file_name,
    stored_tensors,
)
from exporter.quantization.store.packing import pack, pack_zero_points
from exporter.quantization.store.safetensors_writer import Piece, write_safetensors
from exporter.schemes import IntegerScheme

NAME = "model.layers.0.mlp.up_proj.weight"


def random_matrix(
    directory: Path, scheme: IntegerScheme, shape: tuple[int, int], seed: int
) -> IntegerMatrix:
    """A matrix [rows, inputs], written and opened."""
    random = np.random.default_rng(seed)
    groups = (shape[0], scheme.groups(shape[1]))
    codes = random.integers(scheme.lowest, scheme.highest + 1, shape).astype(np.int8)
    scales = random.uniform(0.5, 2.0, groups).astype(np.float16 if scheme.scale_bits == 16 else np.float32)

    def pieces() -> Iterator[Piece]:
        yield f"{NAME}{PACKED}", 0, pack(codes, scheme.bits)
        yield f"{NAME}{SCALE}", 0, scales
        yield f"{NAME}{SHAPE}", 0, np.array(shape, np.int64)
        if scheme.zero_points:
            zero_points = random.integers(scheme.lowest, scheme.highest + 1, groups).astype(np.int8)
            yield f"{NAME}{ZERO_POINT}", 0, pack_zero_points(zero_points, scheme.bits)

    weight = WeightSpec(NAME, shape, Role.LINEAR)
    write_safetensors(directory / matrix_file_name(NAME), stored_tensors(weight, scheme), pieces())
    found = open_matrix(directory, weight, scheme)
    assert isinstance(found, IntegerMatrix)
    return found


def checkpoint_of(matrix: IntegerMatrix) -> QuantizedCheckpoint:
    """A checkpoint that holds this matrix and is of no model."""
    no_model: Any = None
    text = StoredText(no_model, {matrix.name: matrix}, {})
    return QuantizedCheckpoint(matrix.file.path.parent, StoredComponents(text), {})
