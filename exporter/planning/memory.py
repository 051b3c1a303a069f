"""What an export takes of this machine's memory, stage by stage, before any of it runs.

Upper estimates of a process's total resident memory, mapped files included, from shapes alone; the
constants, and those of each runtime (`exporter.formats`), stand above what `benchmarks/family.py` measures,
which prints both. Not about devices (`exporter.formats.held_memory`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from exporter.byte_size import GIB, exact_size, no_less_than
from exporter.errors import PlanError
from exporter.formats.family import RuntimeFamily
from exporter.models.text.spec import ModelSpec, Role
from exporter.planning.estimates import cache_size
from exporter.planning.plan import Plan
from exporter.planning.recipe import Calibration
from exporter.schemes import FP32, IntegerScheme

INTERPRETER = 0.7 * GIB  # Python, numpy and torch
LIBRARIES = 2.0 * GIB  # transformers and the runtimes too, and what stages before did not give back
CHUNKS = 0.3 * GIB  # row chunks being quantised, on every processor
REFERENCE_BLOCKS = 0.3 * GIB  # of head rows and logits, and readers' buffers
# Copies of a layer's activations alive at once in transformers' eager attention and MLP.
ACTIVATIONS, SCORES = 6, 3
MOMENTS = 6  # of the widest input: their sum, mean, order and factor, and what makes them
ROPE_TABLES = 4  # sine and cosine, of full and sliding layers


@dataclass(frozen=True)
class StageMemory:
    """stage: for people ("running onnx"). bytes: estimated peak of total resident memory."""

    stage: str
    bytes: int


@dataclass(frozen=True)
class CalibrationSize:
    """What passes a layer together while a model is calibrated: sequences of tokens. spilled: bytes of what
    waits between layers that stay in memory."""

    sequences: int
    tokens: int
    spilled: int


# As quantising does it, for who plans without its packages; a test holds it to `calibration_size`.
CALIBRATION = CalibrationSize(sequences=8, tokens=256, spilled=GIB // 2)


def export_memory(
    spec: ModelSpec, plan: Plan, positions: int, calibration: CalibrationSize
) -> tuple[StageMemory, ...]:
    """Every stage of an export. positions: tokens of the evaluation text."""
    largest_head = max(layer.head_dim for layer in spec.layers)
    tables = ROPE_TABLES * plan.variant.context * largest_head * FP32.bits // 8
    quantise = INTERPRETER + CHUNKS
    if (calibrated := plan.variant.recipe.calibration) is not None:
        products = "error-feedback" in plan.methods.values()
        quantise = _calibrating(spec, calibration, calibrated, products)
    elif plan.variant.recipe.equalization is not None:  # some text runs through the reference
        quantise = max(quantise, _reference(spec, calibration.tokens))
    found = {"quantising": quantise}
    if plan.variant.recipe.budget is not None:
        found |= {"choosing schemes": _choosing(spec, calibration)}
    found |= {f"lowering to {family.name}": family.memory.lowering + tables for family in plan.families}
    found |= {"the reference": _reference(spec, positions)}
    for family in plan.families:
        if (twin := _twin(spec, plan, family)) is not None:
            found |= {f"{family.title}'s float twin": LIBRARIES + twin}
    found |= {f"running {each.name}": LIBRARIES + _running(spec, plan, each) for each in plan.families}
    return tuple(StageMemory(stage, int(count)) for stage, count in found.items())


def require_memory(stages: Iterable[StageMemory], most: int) -> None:
    """Raise PlanError when a stage needs more than `most` bytes."""
    worst = max(stages, key=lambda stage: stage.bytes)
    if worst.bytes > most:
        raise PlanError(
            f"--max-ram {exact_size(most)}",
            f"{worst.stage} takes an estimated {no_less_than(worst.bytes, most)}",
            "allow more, or choose a smaller --context, fewer --format, or fewer --validation-tokens",
        )


def _reference(spec: ModelSpec, positions: int) -> float:
    """One module's weights, the activations of the sequence, a block of the head."""
    linears = (weight for weight in spec.weights() if weight.role is Role.LINEAR)
    largest = max(weight.shape[0] * weight.shape[1] * 4 for weight in linears)
    heads = max(layer.heads for layer in spec.layers)
    activations = positions * 4 * (ACTIVATIONS * _widest(spec) + SCORES * heads * positions)
    return LIBRARIES + largest + activations + REFERENCE_BLOCKS


def _calibrating(spec: ModelSpec, size: CalibrationSize, calibration: Calibration, products: bool) -> float:
    """A layer's weights, what passes through it, the moments of its inputs and their factors.

    products: whether moments are of every two inputs. Their squares alone take next to nothing."""
    moments = MOMENTS * _widest(spec) ** 2 * 4 if products else 0
    layer_inputs = spec.per_layer_embedding
    width = spec.hidden_size + (0 if layer_inputs is None else len(spec.layers) * layer_inputs.width)
    waiting = min(size.spilled, calibration.tokens_for(spec) * width * 4)
    return LIBRARIES + CHUNKS + waiting + max(_layer_bytes(spec)) + _passing(spec, size) + moments


def _choosing(spec: ModelSpec, size: CalibrationSize) -> float:
    """A layer's weights, one matrix as it is rounded and as it comes back, and what passes and waits."""
    most = max(_layer_bytes(spec))
    return LIBRARIES + CHUNKS + size.spilled + 2 * most + _passing(spec, size) + REFERENCE_BLOCKS


def _layer_bytes(spec: ModelSpec) -> list[int]:
    """Of each layer's matrices, in float32."""
    matrices = [weight for weight in spec.weights() if weight.is_matrix]
    return [
        sum(4 * math.prod(weight.shape) for weight in matrices if weight.name.startswith(layer.prefix))
        for layer in spec.layers
    ]


def _passing(spec: ModelSpec, size: CalibrationSize) -> int:
    """Activations of the sequences that pass a layer together."""
    heads = max(layer.heads for layer in spec.layers)
    return size.sequences * size.tokens * 4 * (ACTIVATIONS * _widest(spec) + SCORES * heads * size.tokens)


def _widest(spec: ModelSpec) -> int:
    """Inputs of the widest linear."""
    return max(
        max(layer.intermediate_size, layer.heads * layer.head_dim, spec.hidden_size)
        for layer in spec.layers
    )


def _twin(spec: ModelSpec, plan: Plan, family: RuntimeFamily) -> int | None:
    """What a float twin takes where that may be more than the artifact does."""
    linears = (weight for weight in spec.weights() if weight.role is Role.LINEAR)
    integers = (each for each in linears if isinstance(plan.schemes[each.name], IntegerScheme))
    matrices = sum(FP32.stored_bytes(weight.shape) for weight in integers)
    if not 0 < matrices <= family.memory.twin_matrices:
        return family.memory.twin
    caches = family.memory.cache_copies * _cache_bytes(spec, plan, family)
    return matrices + plan.weight_bytes + caches


def _running(spec: ModelSpec, plan: Plan, family: RuntimeFamily) -> int:
    """The artifact's weights as a runtime holds them, the tower's too, the caches, and an image's
    activations."""
    model = family.memory
    seeing = max((each.activations for each in plan.towers), default=0)
    weights = model.weight_copies * plan.weight_bytes
    return weights + seeing + model.cache_copies * _cache_bytes(spec, plan, family) + model.beside


def _cache_bytes(spec: ModelSpec, plan: Plan, family: RuntimeFamily) -> int:
    """Of the artifact with the longest call; one is open at a time."""
    own = [each for each in plan.variant.formats if each in family.formats]
    longest = max(plan.longest_call(each, plan.prefill_chunk) for each in own)
    return cache_size(spec, plan.variant.context, longest, family).bytes
