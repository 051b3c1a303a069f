"""`Watched`: what enters each layer of a twin's graph, put down while its stages run.

Found by the gain of the norm that reads it, which is a constant of that name: the residual stream is what
the norm divides. Not about running (`float_twin`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from exporter.lowering.litert.declarations import text
from exporter.lowering.litert.twin.crossing import Crossing
from exporter.lowering.litert.twin.float_graph import FLOAT_BYTES, FloatGraph, FloatSignature
from exporter.lowering.litert.twin.stage_run import StageCall
from exporter.lowering.litert.twin.stages import Stage, crossing_name

_Op = schema.BuiltinOperator
_BACK = (_Op.MUL, _Op.MUL, _Op.DIV)  # from the gain: times the gain, times 1 / RMS, divided by the peak


@dataclass(frozen=True)
class Watched:
    """numbers: by signature, tensor to the state it is. into: [states, tokens, hidden]. seen: [states,
    tokens], those that were put down."""

    numbers: Mapping[str, Mapping[int, int]]
    into: NDArray[np.float32]
    seen: NDArray[np.bool_]

    @staticmethod
    def of(graph: FloatGraph, norms: Sequence[str], into: NDArray[np.float32]) -> Watched:
        """norms: names of gains, one for each state."""
        numbers = {each.key: _streams(graph, each, norms) for each in graph.signatures}
        return Watched(numbers, into, np.zeros(into.shape[:2], np.bool_))

    @property
    def tensors(self) -> Mapping[str, frozenset[int]]:
        return {key: frozenset(numbers) for key, numbers in self.numbers.items()}

    def take(self, stage: Stage, calls: Sequence[StageCall], crossing: Crossing) -> None:
        """Put down what a stage has given out over all calls."""
        for key, part in stage.parts.items():
            own = [each for each in calls if each.key == key]
            for tensor, number in self.numbers[key].items():
                if part.outputs.get(crossing_name(tensor)) != tensor:
                    continue
                tokens, hidden = part.shape(tensor)[-2:]
                for each in own:
                    size = tokens * hidden * FLOAT_BYTES
                    row = crossing.get((key, crossing_name(tensor)), each.number, 1, size)
                    at, count = each.call.position, each.call.count
                    self.into[number, at : at + count] = row.view(np.float32).reshape(tokens, -1)[:count]
                    self.seen[number, at : at + count] = True


def _streams(graph: FloatGraph, signature: FloatSignature, norms: Sequence[str]) -> dict[int, int]:
    """Tensors that hold a state, to its number."""
    producers = {index: node for node in signature.operators for index in node.outputs.tolist()}
    found = {}
    numbers = {name: number for number, name in enumerate(norms)}
    for node in signature.operators:
        named = [text(signature.tensors[index].name) for index in node.inputs.tolist() if index >= 0]
        number = next((numbers[name] for name in named if name in numbers), None)
        if number is None:
            continue
        at = node
        for step, operator in enumerate(_BACK):
            if at is None or graph.operator(at) != operator:
                break
            tensor = int(at.inputs[0])
            if step == len(_BACK) - 1:
                found[tensor] = number
            at = producers.get(tensor)
    return found
