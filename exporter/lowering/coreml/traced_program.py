"""From a torch module to a Core ML program whose matrices are inputs.

    (1) trace the module; a matrix is a placeholder that owns one number
    (2) convert with coremltools: states, ranged shapes, fp16, iOS 18
    (3) hand over the protobuf and the file of small constants

Peak memory is the trace and coremltools' program, whatever the matrices weigh. Not about what is traced
(`conversion`, `vision_conversion`) or about putting the weights in (`binding`).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from exporter.lowering.coreml.graph_nodes import placeholder, register_with_coremltools
from exporter.lowering.coreml.quiet import quietly

# coremltools runs some hundred passes by default, most of them fusions for patterns these graphs do
# not have, and validates the program after each. These are the ones they need, in coremltools' order.
# Left out on purpose: add_int16_cast, which puts lengths into int16 and breaks at 32768 positions,
# and guard_negative_gather_indices, since token ids and places are not negative.
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
class Length:
    """A size the caller chooses; all of one symbol agree in a call."""

    symbol: str
    least: int
    most: int
    default: int


@dataclass(frozen=True)
class Input:
    """example: of the traced call; integers stay int32, floats are fp16 in the program."""

    name: str
    example: Tensor
    shape: tuple[int | Length, ...]


@dataclass(frozen=True)
class Traceable:
    """A module to be converted. It is called with an example of each of `inputs`, then with a placeholder
    for each of `matrices`, names to shapes. states: its buffers, to the shapes they have in the program.
    outputs: names of what it returns, in order. traced: shapes of matrices while tracing, where they are
    others."""

    module: torch.nn.Module
    inputs: tuple[Input, ...]
    matrices: Mapping[str, tuple[int, ...]]
    states: Mapping[str, tuple[int, ...]]
    outputs: tuple[str, ...]
    traced: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class ConvertedProgram:
    """model: coremltools' Model message, matrices among its inputs under their `slot_name`.
    constants: the weight file its small constants are in. keep: what keeps that file alive."""

    model: Any
    constants: Path
    keep: object


def to_program(traceable: Traceable) -> ConvertedProgram:
    """Trace and convert; takes seconds for a small model, minutes for a hundred layers."""
    # (1)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TracerWarning: the constants it sees are meant as such
        examples = [each.example for each in traceable.inputs]
        examples += [placeholder(shape) for shape in {**traceable.matrices, **traceable.traced}.values()]
        trace: Any = torch.jit.trace
        traced = trace(traceable.module.eval(), tuple(examples), check_trace=False)
    for state, shape in traceable.states.items():
        # coremltools wants each buffer in its full shape; numpy's zeros cost nothing until written to.
        setattr(traced, state, torch.from_numpy(np.zeros(shape, np.float32)))
    # (2)
    with quietly():
        model = converted(traced, traceable)
    # (3)
    return ConvertedProgram(model.get_spec(), Path(model.weights_dir) / "weight.bin", model)


def converted(traced: Any, traceable: Traceable) -> Any:
    """Step (2): coremltools' own model of a trace."""
    import coremltools as ct

    register_with_coremltools()
    half = np.float16
    lengths = [each for given in traceable.inputs for each in given.shape if isinstance(each, Length)]
    ranges = {
        each: ct.RangeDim(each.least, each.most, default=each.default, symbol=each.symbol)
        for each in dict.fromkeys(lengths)  # coremltools takes a symbol once
    }

    def declared(given: Input) -> Any:
        shape = tuple(ranges[each] if isinstance(each, Length) else each for each in given.shape)
        integers = given.example.dtype == torch.int32
        return ct.TensorType(given.name, shape=shape, dtype=np.int32 if integers else half)

    inputs = [declared(given) for given in traceable.inputs]
    inputs += [
        ct.TensorType(slot_name(name), shape=shape, dtype=half)
        for name, shape in traceable.matrices.items()
    ]
    states = [
        ct.StateType(ct.TensorType(shape=shape, dtype=half), name=state)
        for state, shape in traceable.states.items()
    ]
    return ct.convert(
        traced,
        inputs=inputs,
        states=states,
        outputs=[ct.TensorType(name, dtype=half) for name in traceable.outputs],
        minimum_deployment_target=ct.target.iOS18,
        compute_precision=ct.precision.FLOAT16,
        pass_pipeline=ct.PassPipeline(list(PASSES), "gemma_export"),
        skip_model_load=True,
    )
