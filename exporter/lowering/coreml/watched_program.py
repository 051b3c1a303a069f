"""What enters each layer of a written package: values inside its program, from the MIL evaluator.

A matrix has its name in the program, a norm has none: what the norm before a layer's first matrix divides
is the residual stream. Not about the evaluator (`runtimes.mil`).
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np

from exporter.errors import LoweringError
from exporter.lowering.coreml.traced_program import slot_name
from exporter.lowering.hidden_states import HiddenStates, HiddenStatesOrder, Seen, calls_of
from runtimes.mil.execution import Execution
from runtimes.mil.messages import OperationMessage
from runtimes.mil.package import read_package
from runtimes.mil.session import MASK, TOKENS

LINEAR, DIVISION = "linear", "real_div"
STEPS = 8  # back from a matrix to its norm's division at most


def coreml_hidden_states(
    package: Path, prefill_chunk: int, order: HiddenStatesOrder, into: HiddenStates
) -> Seen:
    """As `ShowsHiddenStates` has it, of a package."""
    streams = _streams(package, order.readers)
    names = tuple(dict.fromkeys(streams.values()))
    with closing(Execution.open(package, order.arithmetic, watched=names)) as execution:
        for _, at, given in calls_of(order.segments, order.tokens, prefill_chunk):
            end = at + len(given)
            mask = np.zeros((1, 1, len(given), end), np.float32)
            found = execution.run({TOKENS: given[None], MASK: mask})
            for number, name in streams.items():
                into[number, at:end] = found[name].reshape(len(given), -1)
    seen = np.zeros(into.shape[:2], np.bool_)
    seen[list(streams)] = True
    return seen


def _streams(package: Path, readers: tuple[str, ...]) -> dict[int, str]:
    """State's number to the value that holds it."""
    function = read_package(package).model.functions["main"]
    operations = function.blocks[function.opset].operations
    makers = {output.name: each for each in operations for output in each.outputs}
    multiplied = {
        weight: each
        for each in operations
        if each.type == LINEAR
        for weight in each.inputs["weight"]
        if isinstance(weight, str)
    }
    found = {}
    for number, reader in enumerate(readers):
        linear = multiplied.get(slot_name(reader))
        stream = None if linear is None else _divided(linear, makers)
        if stream is not None:
            found[number] = stream
    if not found:
        raise LoweringError(package, "no norm is found before its layers' matrices", "export again")
    return found


def _divided(linear: OperationMessage, makers: dict[str, OperationMessage]) -> str | None:
    """What the division before a matrix divides, by way of first operands."""
    at = linear
    for _ in range(STEPS):
        (first,) = at.inputs["x"]
        if not isinstance(first, str) or first not in makers:
            return None
        if at.type == DIVISION:
            return first
        at = makers[first]
        if "x" not in at.inputs:
            return None
    return None
