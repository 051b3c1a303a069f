"""Cutting a graph into stages that are run one after the other, each with few enough weights.

Knows nothing of layers: a stage is a contiguous range of the operators, in their order. It holds the
weights they multiply with, or reads caches, never both: one with weights knows nothing of the call before
and may be run for many calls at once (`widening`). Rules:
  (1) in the signature with most weights, what reads a cache is a stage, from the first such operator
      behind a weight to the last one before the next weight
  (2) the weights between are dealt out in order, a stage until it is full
  (3) an operator belongs to the stage of the last weight or cache before it, so all signatures are cut
      alike
  (4) what comes of the signature's inputs without a weight (RoPE, masks, what a cache keeps) is repeated
      in every stage that reads it
  (5) so is the operator that ends the update of a cache: each stage that reads one keeps a copy, and
      only the new keys and values cross from the stage that made them
Not about files (`stage_file`) or running (`stage_run`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from exporter.errors import LoweringError
from exporter.lowering.litert.twin.float_graph import FloatGraph, FloatSignature

NOTHING_WATCHED: Mapping[str, Collection[int]] = MappingProxyType({})


@dataclass(frozen=True)
class StageShare:
    """One signature's share of a stage.

    inputs, outputs: name to tensor. Names are the signature's own, a cache having the same one in
    both, and `crossing_name` for what comes from an earlier stage or goes to a later one. calls: that
    it takes at once (`widening`).
    """

    signature: FloatSignature
    operators: tuple[Any, ...]
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]
    calls: int

    def shape(self, tensor: int) -> list[int]:
        sides = self.signature.tensors[tensor].shape  # None: of a scalar
        return [] if sides is None else [int(side) for side in sides]


@dataclass(frozen=True)
class Stage:
    """parts: by signature key, without signatures that have nothing to do. nbytes: of float weights.

    caches: names of those it carries from call to call.
    """

    parts: Mapping[str, StageShare]
    nbytes: int

    @property
    def caches(self) -> frozenset[str]:
        return frozenset(
            name for part in self.parts.values() for name in part.inputs if name in part.outputs
        )


def crossing_name(tensor: int) -> str:
    return f"t{tensor}"


def cut(
    graph: FloatGraph,
    keys: Collection[str],
    budget: int,
    watched: Mapping[str, Collection[int]] = NOTHING_WATCHED,
) -> tuple[Stage, ...]:
    """Stages for the signatures `keys`, each of `budget` bytes of weights or one weight. watched: by
    signature, tensors that the stage which makes them gives out as if a later one read them.

    Raises LoweringError for a graph whose signatures multiply with their weights in different orders.
    """
    operators = [_Operators(graph, each) for each in graph.signatures]
    plan = _plan(graph, max(operators, key=lambda each: len(each.weights)), budget)
    used = [each for each in operators if each.signature.key in keys]
    for each in used:
        each.place(plan)
    stages = range(plan.count)
    read = [{cache for each in used for cache in each.caches_read(stage)} for stage in stages]
    shares = {each.signature.key: [each.share(stage, read[stage]) for stage in stages] for each in used}
    parts: list[dict[str, StageShare]] = [{} for _ in stages]
    for each in used:
        key = each.signature.key
        given = {index for share in shares[key] for index in each.given_to(share)}
        given.update(watched.get(key, ()))
        for stage in stages:
            if shares[key][stage]:
                parts[stage][key] = each.part(stage, shares[key][stage], given)
    return tuple(Stage(each, _weight_bytes(graph, each.values())) for each in parts if each)


@dataclass(frozen=True)
class _Plan:
    """numbers: buffer of each weight to its stage. attending: stages that read caches. count: of stages."""

    numbers: Mapping[int, int]
    attending: frozenset[int]
    count: int


def _plan(graph: FloatGraph, operators: _Operators, budget: int) -> _Plan:
    """For the signature with most weights."""
    numbers, attending = dict[int, int](), set[int]()
    stage, filled = 0, 0
    for at in operators.own():
        if operators.attends(at) != (stage in attending):  # (1)
            stage, filled = stage + 1, 0
            if operators.attends(at):
                attending.add(stage)
        for buffer in operators.weights_of(at):
            if buffer in numbers:
                continue
            nbytes = graph.pieces[buffer].nbytes
            if filled and filled + nbytes > budget:  # (2)
                stage, filled = stage + 1, 0
            filled += nbytes
            numbers[buffer] = stage
    return _Plan(numbers, frozenset(attending), stage + 1)


def _weights(graph: FloatGraph, tensors: Sequence[Any], operators: Iterable[Any]) -> list[int]:
    """Buffers of the float weights that operators read, each once, in their order."""
    read = (tensors[index].buffer for node in operators for index in node.inputs.tolist() if index >= 0)
    return list(dict.fromkeys(buffer for buffer in read if buffer in graph.pieces))


def _weight_bytes(graph: FloatGraph, parts: Iterable[StageShare]) -> int:
    read = {buffer for each in parts for buffer in _weights(graph, each.signature.tensors, each.operators)}
    return sum(graph.pieces[buffer].nbytes for buffer in read)


class _Operators:
    """The operators of one signature, by their place in it: which stage has them, what they read."""

    def __init__(self, graph: FloatGraph, signature: FloatSignature) -> None:
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
        self.weights = _weights(graph, signature.tensors, signature.operators)
        self.repeated = self._repeated()
        self.attending = self._attending()
        self.stages: list[int | None] = []  # None: repeated wherever it is read

    def own(self) -> list[int]:
        """Operators that belong to one stage."""
        return [at for at in range(len(self.operators)) if at not in self.repeated]

    def attends(self, at: int) -> bool:
        """Whether the operator reads a cache, or lies between such that no weight parts."""
        return at in self.attending

    def weights_of(self, at: int) -> list[int]:
        return _weights(self.graph, self.signature.tensors, [self.operators[at]])

    def place(self, plan: _Plan) -> None:
        """Give every operator its stage."""
        stage = 0
        self.stages = [None] * len(self.operators)
        for at in self.own():
            if self.attends(at) != (stage in plan.attending):
                stage += 1
                if self.attends(at) != (stage in plan.attending):
                    raise self._wrong("reads a cache between other weights than the others")
            for buffer in self.weights_of(at):
                if plan.numbers.get(buffer, -1) < stage:
                    raise self._wrong("multiplies with its weights in another order than the others")
                stage = plan.numbers[buffer]
            self.stages[at] = stage  # (3)

    def _repeated(self) -> set[int]:
        known, found = set(self.signature.inputs), set(self.updates.values())  # (5)
        for at, node in enumerate(self.operators):
            if at in found or self.weights_of(at) or self._looks_up(node):
                continue
            if known.issuperset(self._computed(node)):  # (4)
                known.update(node.outputs.tolist())
                found.add(at)
        return found

    def _attending(self) -> set[int]:
        kept = set(self.caches)
        for at, node in enumerate(self.operators):
            if at in self.repeated and not kept.isdisjoint(node.inputs.tolist()):
                kept.update(node.outputs.tolist())
        found, between = set[int](), list[int]()
        reading = False
        for at in self.own():
            if self.weights_of(at):
                reading = False
            elif not kept.isdisjoint(self.operators[at].inputs.tolist()):
                found |= {at, *between} if reading else {at}
                reading, between = True, []
                continue
            between = [*between, at] if reading else []
        return found

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
        operators = tuple(self.operators[at] for at in share)
        return StageShare(self.signature, operators, inputs, outputs, calls=1)

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
