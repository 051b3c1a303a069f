"""`quantization_config` of a config.json: what a checkpoint that is quantised already says of itself.

Of all there are, compressed-tensors' "pack-quantized" with symmetric integer weights can be read as it
is (Google's `-qat-w4a16-ct` among them); the rest is refused by name. Not about the tensors
(`packed_matrices`). Source: compressed-tensors 0.20, `QuantizationConfig` and `QuantizationArgs`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from exporter.errors import CheckpointError
from runtimes.excerpt import excerpt, plain_excerpt

KEY = "quantization_config"
MLX_KEY = "quantization"  # with group_size and bits, beside tensors called .scales and .biases
METHOD, FORMAT = "compressed-tensors", "pack-quantized"
OTHER_METHODS = {
    "gemma": "Google's mobile format, per-channel codes of 2 to 8 bits with fixed scales for activations",
}
# What does not change the numbers, and what may be there as long as it is empty.
IRRELEVANT = {
    "quant_method", "format", "quantization_status", "config_groups",
    "global_compression_ratio", "ignore", "version",
}  # fmt: skip
EMPTY = ("kv_cache_scheme", "sparsity_config", "transform_config", "moe_sparsity_config")
# Columns stay in their places with these: only the order in which they were rounded differed.
HARMLESS_ORDERS = (None, False, "weight", "static")
UNQUANTISED = "give the unquantised checkpoint (of Google's QAT models the one named -unquantized)"


@dataclass(frozen=True)
class PackedLayout:
    """Codes of 4 or 8 bits with a scale for each group of inputs, None for one per row."""

    bits: int
    group: int | None


def packed_layouts(config: Mapping[str, Any], where: str) -> tuple[PackedLayout, ...]:
    """The layouts a checkpoint's packed matrices have; empty for one that is not quantised.

    config: config.json, whole. Raises CheckpointError naming what cannot be read as it is.
    """
    quantised = config.get(KEY)
    if config.get(MLX_KEY) is not None:
        raise CheckpointError(
            f"{where}: {MLX_KEY}", "MLX quantised it, into codes that are not read", UNQUANTISED
        )
    if quantised is None:
        return ()
    if not isinstance(quantised, dict):
        raise CheckpointError(
            f"{where}: {KEY}", f"is {excerpt(quantised)}, not an object", "fetch it again"
        )
    _require_method(quantised, f"{where}: {KEY}")
    groups = quantised.get("config_groups")
    if not isinstance(groups, dict) or not groups:
        raise CheckpointError(f"{where}: {KEY}.config_groups", "names no group", "fetch it again")
    found = (_layout(group, f"{where}: {KEY}.config_groups.{name}") for name, group in groups.items())
    return tuple(dict.fromkeys(found))


def _require_method(quantised: Mapping[str, Any], where: str) -> None:
    method = quantised.get("quant_method")
    if method != METHOD:
        what = (
            OTHER_METHODS.get(method, "a format that is not read") if isinstance(method, str) else "unknown"
        )
        raise CheckpointError(f"{where}.quant_method", f"is {excerpt(method)}: {what}", UNQUANTISED)
    if quantised.get("format") != FORMAT:
        raise CheckpointError(
            f"{where}.format",
            f"is {excerpt(quantised.get('format'))}, only {FORMAT!r} is read",
            UNQUANTISED,
        )
    if quantised.get("quantization_status") != "compressed":
        raise CheckpointError(
            f"{where}.quantization_status",
            f"is {excerpt(quantised.get('quantization_status'))}: weights that are not packed",
            "save the checkpoint compressed, or give the unquantised one",
        )
    for key in EMPTY:
        if quantised.get(key):
            raise CheckpointError(f"{where}.{key}", "is more than quantised weights", UNQUANTISED)
    if unknown := sorted(set(quantised) - IRRELEVANT - set(EMPTY)):
        raise CheckpointError(
            f"{where}.{plain_excerpt(unknown[0])}",
            "may change what the codes stand for",
            "use a newer gemma-export",
        )


def _layout(group: object, where: str) -> PackedLayout:
    weights = group.get("weights") if isinstance(group, dict) else None
    if not isinstance(group, dict) or not isinstance(weights, dict):
        raise CheckpointError(where, "has no weights to read", UNQUANTISED)
    for what in _unreadable(group, weights):
        raise CheckpointError(where, what, UNQUANTISED)
    return PackedLayout(weights["num_bits"], weights["group_size"] if _grouped(weights) else None)


def _unreadable(group: Mapping[str, Any], weights: Mapping[str, Any]) -> Iterator[str]:
    """What of a group cannot be taken over, in words."""
    if weights.get("type") != "int" or weights.get("num_bits") not in (4, 8):
        yield f"has {weights.get('num_bits')}-bit weights of type {weights.get('type')!r}, not int4 or int8"
    if weights.get("symmetric") is not True:
        yield "is asymmetric: codes with an offset per group are no multiples of a scale"
    if weights.get("dynamic"):
        yield "has dynamic weight scales"
    if weights.get("actorder") not in HARMLESS_ORDERS:
        yield f"has actorder {weights.get('actorder')!r}: groups of columns that are not neighbours"
    if weights.get("strategy") not in ("group", "channel"):
        yield f"has strategy {weights.get('strategy')!r}, not 'group' or 'channel'"
    elif _grouped(weights) and not (isinstance(size := weights.get("group_size"), int) and size > 0):
        yield f"has group_size {weights.get('group_size')!r}"
    if group.get("format") not in (None, FORMAT):
        yield f"has format {group.get('format')!r}, only {FORMAT!r} is read"
    for key in ("input_activations", "output_activations"):
        if group.get(key) is not None:
            yield f"has {key}: activations quantised with scales of their own"


def _grouped(weights: Mapping[str, Any]) -> bool:
    return bool(weights.get("strategy") == "group")
