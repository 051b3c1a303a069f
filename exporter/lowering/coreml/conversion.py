"""From the decoder to a Core ML program whose matrices are inputs.

    (1) trace the decoder in torch; a matrix is a placeholder that owns one number
    (2) convert with coremltools: states, ranged shapes, fp16, iOS 18
    (3) hand over the protobuf and the file of small constants

Peak memory is the trace and coremltools' program, whatever the matrices weigh. Not about putting the
weights in (`binding`).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from exporter.lowering.coreml.cache_states import CacheGroup, CacheStates, cache_groups
from exporter.lowering.coreml.dialect import CoreMlDialect, GraphConstants, constants
from exporter.lowering.coreml.graph_nodes import placeholder, register_with_coremltools
from exporter.lowering.coreml.quiet import quietly
from exporter.models.text.decoder import decode
from exporter.models.text.spec import ModelSpec

TOKENS, MASK, LOGITS = "inputIds", "causalMask", "logits"

# Tokens and cache length of the traced call: different, and not 1, so that none passes for another.
TRACED_LENGTHS = (3, 5)

# coremltools runs some hundred passes by default, most of them fusions for patterns this graph does
# not have, and validates the program after each. These are the ones it needs, in coremltools' order.
# Left out on purpose: add_int16_cast, which puts lengths into int16 and breaks at 32768 positions,
# and guard_negative_gather_indices, since token ids are not negative.
PASSES = (
    "common::update_output_dtypes",
    "common::const_elimination",
    "common::sanitize_input_output_names",
    "common::divide_to_multiply",
    "common::remove_symbolic_reshape",
    "common::noop_elimination",
    "common::dedup_op_and_var_names",
    "common::add_fp16_cast",
    "common::update_output_dtypes",
    "common::const_elimination",
    "common::cast_optimization",
    "common::dead_code_elimination",
    "common::canonicalize_inplace_pattern",
    "common::prefer_state_in_downstream",
    "common::remove_redundant_ops",
    "common::const_elimination",
    "common::dead_code_elimination",
)


def slot_name(weight: str) -> str:
    """A weight's name as a MIL identifier. Canonical names have no double underscore, so that
    `weight_name` undoes it."""
    return weight.replace(".", "__")


def weight_name(slot: str) -> str:
    """The inverse of `slot_name`."""
    return slot.replace("__", ".")


@dataclass(frozen=True)
class ConvertedProgram:
    """model: coremltools' Model message, matrices among its inputs under their `slot_name`.
    constants: the weight file its small constants are in. keep: what keeps that file alive."""

    model: Any
    constants: Path
    keep: object


def convert(
    spec: ModelSpec, gains: Mapping[str, NDArray[np.float32]], context: int, residual_scale: float
) -> ConvertedProgram:
    """Trace and convert; takes seconds for a small model, minutes for a hundred layers."""
    groups = cache_groups(spec, context)
    matrices = {weight.name: weight.shape for weight in spec.weights() if weight.is_matrix}
    small = {name: torch.from_numpy(gain) for name, gain in gains.items()}
    module = _Traced(
        spec,
        residual_scale,
        constants(spec, small, context, residual_scale),
        groups,
        tuple(matrices),
    )
    # (1)
    tokens, end = TRACED_LENGTHS
    example = (torch.zeros((1, tokens), dtype=torch.int32), torch.zeros((1, 1, tokens, end)))
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TracerWarning: the constants it sees are meant as such
        inputs = (*example, *(placeholder(shape) for shape in matrices.values()))
        trace: Any = torch.jit.trace
        traced = trace(module.eval(), inputs, check_trace=False)
    for state, shape in _states(groups).items():
        # coremltools wants each buffer in its full shape; numpy's zeros cost nothing until written to.
        setattr(traced, state, torch.from_numpy(np.zeros(shape, np.float32)))
    # (2)
    with quietly():
        model = _to_coreml(traced, matrices, groups, context)
    # (3)
    return ConvertedProgram(model.get_spec(), Path(model.weights_dir) / "weight.bin", model)


class _Traced(torch.nn.Module):
    """The decoder as a module: buffers become states, the matrices come in as arguments."""

    def __init__(
        self,
        spec: ModelSpec,
        residual_scale: float,
        constants: GraphConstants,
        groups: Sequence[CacheGroup],
        names: tuple[str, ...],
    ) -> None:
        super().__init__()
        self._spec, self._scale, self._constants = spec, residual_scale, constants
        self._groups, self._names = groups, names
        for state, (layers, batch, kv_heads, slots, head_dim) in _states(groups).items():
            # Of the slots, only as many as the traced call reaches.
            shape = (layers, batch, kv_heads, min(slots, TRACED_LENGTHS[1]), head_dim)
            self.register_buffer(state, torch.zeros(shape))

    def forward(self, tokens: Tensor, mask: Tensor, *matrices: Tensor) -> Tensor:
        count = tokens.shape[1]
        ops = CoreMlDialect(
            spec=self._spec,
            residual_scale=self._scale,
            weights=dict(zip(self._names, matrices, strict=True)),
            constants=self._constants,
            caches=CacheStates(self._groups, dict(self.named_buffers()), mask.shape[-1] - count, count),
            mask=mask,
            tokens=count,
        )
        return decode(self._spec, ops, tokens)


def _states(groups: Sequence[CacheGroup]) -> dict[str, tuple[int, int, int, int, int]]:
    """Shape of every state."""
    return {state: group.shape for group in groups for state in (group.key_state, group.value_state)}


def _to_coreml(
    traced: Any, matrices: Mapping[str, tuple[int, ...]], groups: Sequence[CacheGroup], context: int
) -> Any:
    import coremltools as ct

    register_with_coremltools()
    length = {
        symbol: ct.RangeDim(1, context, default=1, symbol=symbol) for symbol in ("tokens", "rows", "end")
    }
    half = np.float16
    inputs = [
        ct.TensorType(TOKENS, shape=(1, length["tokens"]), dtype=np.int32),
        ct.TensorType(MASK, shape=(1, 1, length["rows"], length["end"]), dtype=half),
    ]
    inputs += [ct.TensorType(slot_name(name), shape=shape, dtype=half) for name, shape in matrices.items()]
    states = [
        ct.StateType(ct.TensorType(shape=shape, dtype=half), name=state)
        for state, shape in _states(groups).items()
    ]
    return ct.convert(
        traced,
        inputs=inputs,
        states=states,
        outputs=[ct.TensorType(LOGITS, dtype=half)],
        minimum_deployment_target=ct.target.iOS18,
        compute_precision=ct.precision.FLOAT16,
        pass_pipeline=ct.PassPipeline(list(PASSES), "gemma_export"),
        skip_model_load=True,
    )
