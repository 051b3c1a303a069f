"""Cutting a graph into stages that are run one after the other, each with few enough weights.

Knows nothing of layers: a stage is a contiguous range of the operators, in their order, and holds the
weights they multiply with. Rules:
  (1) the weights of the signature with most of them are dealt out in order, a stage until it is full
  (2) an operator belongs to the stage of the last weight before it, so all signatures are cut alike
  (3) what comes of the signature's inputs without a weight (RoPE, masks, what a cache keeps) is repeated
      in every stage that reads it
  (4) so is the operator that ends the update of a cache: each stage that reads one keeps a copy, and
      only the new keys and values cross from the stage that made them
Not about files (`stage_file`) or running (`stage_run`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from exporter.errors import LoweringError
from exporter.lowering.litert.twin.float_graph import FloatGraph, FloatSignature


@dataclass(frozen=True)
class StageShare:
    """One signature's share of a stage.

    inputs, outputs: name to tensor. Names are the signature's own, a cache having the same one in
    both, and `crossing_name` for what comes from an earlier stage or goes to a later one.
    """

    signature: FloatSignature
    operators: tuple[Any, ...]
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]


@dataclass(frozen=True)
class Stage:
    """parts: by signature key, without signatures that have nothing to do. nbytes: of float weights."""

    parts: Mapping[str, StageShare]
    nbytes: int


def crossing_name(tensor: int) -> str:
    return f"t{tensor}"


def cut(graph: FloatGraph, keys: Collection[str], budget: int) -> tuple[Stage, ...]:
    """Stages for the signatures `keys`, each of `budget` bytes of weights or one weight.

    Raises LoweringError for a graph whose signatures multiply with their weights in different orders.
    """
    # (1)
    numbers = _stages_of_weights(graph, budget)
    used = [_Operators(graph, each, numbers) for each in graph.signatures if each.key in keys]
    stages = range(1 + max(numbers.values(), default=0))
    read = [{cache for each in used for cache in each.caches_read(stage)} for stage in stages]
    shares = {each.signature.key: [each.share(stage, read[stage]) for stage in stages] for each in used}
    parts: list[dict[str, StageShare]] = [{} for _ in stages]
    for each in used:
        key = each.signature.key
        given = {index for share in shares[key] for index in each.given_to(share)}
        for stage in stages:
            if shares[key][stage]:
                parts[stage][key] = each.part(stage, shares[key][stage], given)
    return tuple(Stage(each, _weight_bytes(graph, each.values())) for each in parts if each)


def _stages_of_weights(graph: FloatGraph, budget: int) -> dict[int, int]:
    """Buffer of each weight to its stage."""
    fullest = max((_weights(graph, each.tensors, each.operators) for each in graph.signatures), key=len)
    found, stage, filled = dict[int, int](), 0, 0
    for buffer in fullest:
        nbytes = graph.pieces[buffer].nbytes
        if filled and filled + nbytes > budget:
            stage, filled = stage + 1, 0
        filled += nbytes
        found[buffer] = stage
    return found


def _weights(graph: FloatGraph, tensors: Sequence[Any], operators: Iterable[Any]) -> list[int]:
    """Buffers of the float weights that operators read, each once, in their order."""
    read = (tensors[index].buffer for node in operators for index in node.inputs.tolist() if index >= 0)
    return list(dict.fromkeys(buffer for buffer in read if buffer in graph.pieces))


def _weight_bytes(graph: FloatGraph, parts: Iterable[StageShare]) -> int:
    read = {buffer for each in parts for buffer in _weights(graph, each.signature.tensors, each.operators)}
    return sum(graph.pieces[buffer].nbytes for buffer in read)


class _Operators:
    """The operators of one signature, by their place in it: which stage has them, what they read."""

    def __init__(self, graph: FloatGraph, signature: FloatSignature, numbers: Mapping[int, int]) -> None:
        self.graph, self.signature = graph, signature
        self.caches = {
            index: name for index, name in signature.inputs.items() if name in signature.outputs.values()
        }
        self.producers = {
            index: at for at, node in enumerate(signature.operators) for index in node.outputs.tolist()
        }
        self.updates = {
            name: self.producers[index]
            for index, name in signature.outputs.items()
            if name in self.caches.values()
        }
        self.stages: list[int | None] = []  # None: repeated wherever it is read
        known, ends = set(signature.inputs), set(self.updates.values())
        stage = 0
        for at, node in enumerate(signature.operators):
            weights = _weights(graph, signature.tensors, [node])
            for buffer in weights:
                if numbers.get(buffer, -1) < stage:
                    raise self._wrong("multiplies with its weights in another order than the others")
                stage = numbers[buffer]  # (2)
            if at in ends:
                self.stages.append(None)  # (4)
            elif known.issuperset(self._computed(node)) and not weights and not self._looks_up(node):
                known.update(node.outputs.tolist())  # (3)
                self.stages.append(None)
            else:
                self.stages.append(stage)

    def caches_read(self, stage: int) -> set[str]:
        """CacheTensors whose updated values the stage's own operators read."""
        share = set(self.share(stage, ()))
        return {name for name, at in self.updates.items() if at in share}

    def share(self, stage: int, caches: Collection[str]) -> tuple[int, ...]:
        """The stage's operators, those that update `caches`, and the repeated ones they read."""
        left = [at for at, number in enumerate(self.stages) if number == stage]
        left += [at for name, at in self.updates.items() if name in caches]
        found = set[int]()
        while left:
            at = left.pop()
            if at not in found:
                found.add(at)
                before = (self.producers.get(index) for index in self._computed(self.operators[at]))
                left += [each for each in before if each is not None and self.stages[each] is None]
        return tuple(sorted(found))

    def given_to(self, share: Sequence[int]) -> list[int]:
        """Tensors the operators read and do not make, each once."""
        made = {index for at in share for index in self.operators[at].outputs.tolist()}
        read = (index for at in share for index in self._computed(self.operators[at]))
        return list(dict.fromkeys(index for index in read if index not in made))

    def part(self, stage: int, share: Sequence[int], crossing: Collection[int]) -> StageShare:
        """The share with its inputs and outputs. crossing: what any stage is given."""
        inputs, outputs = dict[str, int](), dict[str, int]()
        for index in self.given_to(share):
            at = self.producers.get(index)
            maker = None if at is None else self.stages[at]
            if maker is not None and maker > stage:
                raise self._wrong("reads a result of a later stage")
            inputs[self.signature.inputs.get(index, crossing_name(index))] = index
        for at in share:
            for index in self.operators[at].outputs.tolist():
                if self.stages[at] is None:
                    if at in self.updates.values():
                        outputs[self.signature.outputs[index]] = index
                elif index in self.signature.outputs:
                    outputs[self.signature.outputs[index]] = index
                elif index in crossing:
                    outputs[crossing_name(index)] = index
        return StageShare(self.signature, tuple(self.operators[at] for at in share), inputs, outputs)

    @property
    def operators(self) -> list[Any]:
        return self.signature.operators

    def _computed(self, node: Any) -> list[int]:
        """Operands that are not constants."""
        return [index for index in node.inputs.tolist() if index >= 0 and not self._is_constant(index)]

    def _is_constant(self, index: int) -> bool:
        buffer = self.signature.tensors[index].buffer
        return (
            index in self.signature.stored
            or buffer in self.graph.pieces
            or self.graph.buffers[buffer].data is not None
        )

    def _looks_up(self, node: Any) -> bool:
        return not self.signature.stored.keys().isdisjoint(node.inputs.tolist())

    def _wrong(self, what: str) -> LoweringError:
        return LoweringError(
            self.graph.file.path,
            f"signature {self.signature.key} {what}, so its float twin cannot be cut into stages",
            "this is a fault of gemma-export; please report it",
        )
