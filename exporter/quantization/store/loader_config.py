"""config.json and index of the quantised checkpoint, as transformers' own loader wants them.

Every integer matrix is named in a config group of its scheme, so the loader decides nothing. Not
about reading the checkpoint back (`checkpoint`) or what the loader makes of it (`transformers_view`).
Source: compressed-tensors 0.20, `QuantizationConfig` and format "pack-quantized".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from exporter.models.text.spec import ModelSpec, Role, WeightSpec
from exporter.quantization.store.layout import VECTORS_NAME, matrix_file_name, stored_tensors
from exporter.schemes import IntegerScheme, Scheme

CONFIG_NAME, INDEX_NAME = "config.json", "model.safetensors.index.json"
LOOKED_UP = (Role.EMBEDDING, Role.PER_LAYER_EMBEDDING)


def hidden_from_loader(weight: WeightSpec, scheme: Scheme) -> bool:
    """Whether the loader must not see a matrix: transformers 5.23 cannot load a quantised embedding."""
    return weight.role in LOOKED_UP and isinstance(scheme, IntegerScheme)


def loader_config(
    architecture: Mapping[str, Any], spec: ModelSpec, schemes: Mapping[str, Scheme]
) -> dict[str, Any]:
    """config.json: the model's, with a `quantization_config` where a matrix is quantised."""
    groups: dict[IntegerScheme, list[str]] = {}
    for weight in spec.weights():
        scheme = schemes.get(weight.name)
        if isinstance(scheme, IntegerScheme) and not hidden_from_loader(weight, scheme):
            groups.setdefault(scheme, []).append(weight.name.removesuffix(".weight"))
    config = {**architecture, "dtype": "float32"}
    if groups:
        config["quantization_config"] = {
            "quant_method": "compressed-tensors",
            "format": "pack-quantized",
            "quantization_status": "compressed",
            "config_groups": {
                scheme.name: {"targets": modules, "weights": _weights(scheme)}
                for scheme, modules in groups.items()
            },
        }
    return config


def loader_index(spec: ModelSpec, schemes: Mapping[str, Scheme]) -> dict[str, Any]:
    """model.safetensors.index.json: every stored tensor the loader may see, and the file it is in."""
    placed: dict[str, str] = {}
    total = 0
    for weight in spec.weights():
        if weight.role is Role.COLUMNS:
            continue  # ours alone: no model of transformers has it
        if not weight.is_matrix:
            placed[weight.name] = VECTORS_NAME
            total += 4 * math.prod(weight.shape)
        elif not hidden_from_loader(weight, scheme := schemes[weight.name]):
            placed |= dict.fromkeys(stored_tensors(weight, scheme), matrix_file_name(weight.name))
            total += scheme.stored_bytes(weight.shape)
    return {"metadata": {"total_size": total}, "weight_map": placed}


def _weights(scheme: IntegerScheme) -> dict[str, Any]:
    return {
        "num_bits": scheme.bits,
        "type": "int",
        "symmetric": not scheme.zero_points,
        "dynamic": False,
        "strategy": "channel" if scheme.group is None else "group",
        "group_size": scheme.group,
    }
