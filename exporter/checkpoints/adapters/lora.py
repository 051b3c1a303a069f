"""`LoraSource`: a checkpoint with a PEFT LoRA adapter merged into it, row range by row range.

merged = W + scaling * B @ A in float32, scaling = lora_alpha / r (or / sqrt(r) with rsLoRA), as peft's
`LoraLayer.get_delta_weight` has it. Not about other adapters: what cannot be merged exactly (DoRA,
trained biases, saved modules, embeddings' own layout) is refused by name.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporter.checkpoints.derived_source import DerivedSource
from exporter.checkpoints.files.safetensors_file import SafetensorsFile
from exporter.checkpoints.files.tensor_values import as_float32
from exporter.checkpoints.interface import CheckpointSource
from exporter.checkpoints.text_tensors import text_name
from exporter.errors import CheckpointError
from runtimes.manifest import sha256_of

CONFIG_NAME, WEIGHTS_NAME = "adapter_config.json", "adapter_model.safetensors"
PICKLE_NAME = "adapter_model.bin"
KEY_PREFIX = "base_model.model."

# Keys that would change how weights merge, with the values that mean they do not.
PLAIN_LORA: dict[str, tuple[Any, ...]] = {
    "peft_type": ("LORA",),
    "use_dora": (False, None),
    "bias": ("none", None),
    "fan_in_fan_out": (False, None),
    "lora_bias": (False, None),
    "modules_to_save": (None, []),
    "trainable_token_indices": (None, [], {}),
    "layer_replication": (None, []),
    "rank_pattern": ({}, None),
    "alpha_pattern": ({}, None),
}


@dataclass(frozen=True)
class LowRank:
    """One matrix's update, scaling * up @ down. down: [r, in], up: [out, r]."""

    down: NDArray[np.float32]
    up: NDArray[np.float32]
    scaling: float

    def rows(self, start: int, stop: int) -> NDArray[np.float32]:
        delta: NDArray[np.float32] = np.float32(self.scaling) * (self.up[start:stop] @ self.down)
        return delta


@dataclass(frozen=True)
class LoraSource(DerivedSource):
    """A `CheckpointSource` whose adapted matrices are the base's plus their update."""

    directory: Path
    updates: Mapping[str, LowRank]

    @staticmethod
    def open(base: CheckpointSource, directory: Path) -> LoraSource:
        """Read an adapter directory and check it against its base.

        Raises CheckpointError for an adapter that is not plain LoRA, names matrices the base does not
        have, has other shapes, or changes nothing.
        """
        config = _read_config(directory / CONFIG_NAME)
        if not (directory / WEIGHTS_NAME).is_file() and (directory / PICKLE_NAME).exists():
            raise CheckpointError(
                directory / PICKLE_NAME,
                "is a pickle, which can run code when it is read",
                f"save the adapter again as {WEIGHTS_NAME} (peft's default)",
            )
        file = SafetensorsFile.open(directory / WEIGHTS_NAME)
        adapted = _adapted(directory, file, base)
        updates = {name: _low_rank(base, config, file, name, adapted[name]) for name in sorted(adapted)}
        if not any(update.up.any() and update.down.any() and update.scaling for update in updates.values()):
            raise CheckpointError(
                directory,
                "the adapter changes no weight: every update is zero",
                "it was never trained or not saved; give a trained adapter, or export the base without it",
            )
        return LoraSource(base, directory, updates)

    @property
    def name(self) -> str:
        return f"{self.base.name}-{self.directory.resolve().name}"

    @property
    def rewritten(self) -> Collection[str]:
        return self.updates.keys()

    def rows(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        values = self.base.rows(name, start, stop)
        update = self.updates.get(name)
        return values if update is None else values + update.rows(start, stop)

    def digests(self) -> Mapping[str, str]:
        own = {f"adapter/{name}": sha256_of(self.directory / name) for name in (CONFIG_NAME, WEIGHTS_NAME)}
        return {**self.base.digests(), **own}


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(
            path, "no such file", "give a PEFT adapter directory (adapter_config.json and weights)"
        ) from error
    except (OSError, ValueError) as error:
        raise CheckpointError(path, f"cannot be read as JSON ({error})", "fetch it again") from error
    if not isinstance(config, dict):
        raise CheckpointError(path, "is not a JSON object", "fetch it again")
    for key, plain in PLAIN_LORA.items():
        if config.get(key, plain[0]) not in plain:
            raise CheckpointError(
                f"{path}: {key}",
                f"is {config[key]!r}, and only plain LoRA can be merged exactly",
                "merge it with peft's merge_and_unload() and export the result",
            )
    for key in ("r", "lora_alpha"):
        if not isinstance(config.get(key), int | float) or config[key] <= 0:
            raise CheckpointError(
                f"{path}: {key}", f"expected a positive number, got {config.get(key)!r}", "fetch it again"
            )
    return config


def _adapted(directory: Path, file: SafetensorsFile, base: CheckpointSource) -> dict[str, str]:
    """Adapted matrices, by canonical name, to what the names of their factors begin with; every tensor of
    the file must belong to one. An adapter trained on a model with towers names the text model's their way.
    """
    names: dict[str, str] = {}
    for key in file.tensors:
        plain = key.removeprefix(KEY_PREFIX)
        for part in (".lora_A.weight", ".lora_B.weight"):
            if plain.endswith(part):
                module = plain.removesuffix(part)
                names[text_name(f"{module}.weight")] = key.removesuffix(part)
                break
        else:
            raise CheckpointError(
                directory / WEIGHTS_NAME,
                f"tensor {key} is not a LoRA factor of a linear",
                "merge it with peft's merge_and_unload() and export the result",
            )
    if unknown := sorted(set(names) - set(base.tensors)):
        raise CheckpointError(
            directory / WEIGHTS_NAME,
            f"it adapts {unknown[0]}, which {base.name} does not have",
            "give the base model the adapter was trained on",
        )
    return names


def _low_rank(
    base: CheckpointSource, config: Mapping[str, Any], file: SafetensorsFile, name: str, stem: str
) -> LowRank:
    rank = int(config["r"])
    out, inputs = base.tensors[name].shape
    factors = []
    for part, shape in (("lora_A", (rank, inputs)), ("lora_B", (out, rank))):
        key = f"{stem}.{part}.weight"
        header = file.tensors.get(key)
        if header is None or header.shape != shape:
            found = "missing" if header is None else f"of shape {list(header.shape)}"
            raise CheckpointError(
                file.path,
                f"tensor {key} is {found}, expected {list(shape)}",
                "give the base model the adapter was trained on",
            )
        raw = file.read_bytes(key, 0, header.nbytes)
        factors.append(as_float32(raw, header.dtype, f"{file.path}: {key}").reshape(shape))
    divisor = math.sqrt(rank) if config.get("use_rslora") else rank
    return LowRank(factors[0], factors[1], float(config["lora_alpha"]) / divisor)
