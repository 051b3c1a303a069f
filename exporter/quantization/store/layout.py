"""What lies where in the quantised checkpoint: its files and the tensors in them.

One directory:
    config.json                     the model's configuration with compressed-tensors' quantization_config
    model.safetensors.index.json    canonical transformers name to shard, for transformers' own loader;
                                    without a quantised embedding, which that loader cannot take
    <weight name>.safetensors       one matrix each: `X.weight_packed` I32 [out, in * bits / 32],
                                    `X.weight_scale` F16 or F32 [out, groups], `X.weight_shape` I64 [2]
                                    and, of a scheme with them, `X.weight_zero_point` I32
                                    [out * bits / 32 rounded up, groups] (compressed-tensors
                                    "pack-quantized"), or `X.weight` F16 / F32
    vectors.safetensors             norms (1 not added) and scalars, and the vector an equalised
                                    embedding's rows are multiplied with, F32; what the decoder
                                    multiplies by is half precision (`exporter.quantization.store.gains`)
    vision.vectors.safetensors      biases, gains and bounds of the image tower, and
    audio.vectors.safetensors       of the audio encoder, F32, as the source has them; their matrices are
                                    files like the text's. transformers' loader is shown none of them
    quantized.json                  ours: schema version, scheme and method of every matrix, source,
                                    architecture; called quantizing.json until the last matrix is there

Not about reading (`checkpoint`) or writing (`writer`) them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from exporter.models.text.spec import WeightSpec
from exporter.schemes import FloatScheme, Scheme
from runtimes.manifest import TowerName

VECTORS_NAME = "vectors.safetensors"
PACKED, SCALE, ZERO_POINT, SHAPE = "_packed", "_scale", "_zero_point", "_shape"
SCALE_DTYPES: dict[int, np.dtype[Any]] = {16: np.dtype(np.float16), 32: np.dtype(np.float32)}

Headers = dict[str, tuple[str, tuple[int, ...]]]
"""Tensor name to (dtype, shape), in the order they lie in a file."""


def tower_vectors_name(tower: TowerName) -> str:
    """The file that holds a tower's vectors."""
    return f"{tower}.{VECTORS_NAME}"


def matrix_file_name(weight: str) -> str:
    """The file that holds one matrix."""
    return f"{weight}.safetensors"


def stored_tensors(weight: WeightSpec, scheme: Scheme) -> Headers:
    """The tensors a matrix is stored as."""
    rows, inputs = weight.shape
    if isinstance(scheme, FloatScheme):
        return {weight.name: (f"F{scheme.bits}", (rows, inputs))}
    groups = scheme.groups(inputs)
    headers: Headers = {f"{weight.name}{PACKED}": ("I32", (rows, inputs * scheme.bits // 32))}
    if scheme.zero_points:
        headers[f"{weight.name}{ZERO_POINT}"] = ("I32", (scheme.zero_point_words(rows), groups))
    headers[f"{weight.name}{SCALE}"] = (f"F{scheme.scale_bits}", (rows, groups))
    headers[f"{weight.name}{SHAPE}"] = ("I64", (2,))
    return headers
