"""Running one stage of a twin for all calls of a route, its caches carried from call to call.

Not about what is cut where (`stages`) or the stages' order (`float_twin`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from exporter.lowering.litert.twin.crossing import Crossing
from exporter.lowering.litert.twin.stages import Stage, StageShare
from runtimes.litert.calls import LOCAL_MASK, LOGITS, MASK, POSITIONS, TOKENS, GraphCall
from runtimes.litert.compiled import close_model, compile_model, refusals_explained
from runtimes.native_log import native_log_kept

THREADS = 2
GIVEN = (TOKENS, POSITIONS, MASK, LOCAL_MASK)
DTYPES = {schema.TensorType.FLOAT32: np.dtype(np.float32), schema.TensorType.INT32: np.dtype(np.int32)}


@dataclass(frozen=True)
class StageCall:
    """A call of a signature. number: calls of that signature before it. wanted: whether its logits are."""

    key: str
    number: int
    call: GraphCall
    wanted: bool


def run_stage(
    file: Path,
    artifact: Path,
    stage: Stage,
    calls: Sequence[StageCall],
    crossing: Crossing,
    given: Callable[[StageCall], Mapping[str, NDArray[Any]]],
) -> Generator[tuple[int, NDArray[np.float32] | None]]:
    """Yields (calls done, their logits [calls, vocab] if this stage makes them and they are wanted).

    Neighbours among the calls are run together where their share of the stage takes several.
    file: of the stage; XNNPACK's packed weights go beside it. artifact: for messages. given: the
    graph's own inputs for a call. Raises ArtifactError where LiteRT refuses the file.
    """
    with refusals_explained(artifact):
        model = compile_model(file, file.parent, THREADS)
        opened = _Opened(model, stage)
    try:
        log: AbstractContextManager[object] = native_log_kept()  # LiteRT says much when it runs first
        for batch in _batches(stage, calls):
            logits = None
            if batch[0].key in stage.parts:
                with log:
                    logits = opened.run(batch, crossing, given)
                log = nullcontext()
            yield len(batch), logits
    finally:
        opened.close()


def _batches(stage: Stage, calls: Sequence[StageCall]) -> Iterator[Sequence[StageCall]]:
    for (key, _), alike in groupby(calls, lambda each: (each.key, each.wanted)):
        neighbours = list(alike)
        step = stage.parts[key].calls if key in stage.parts else len(neighbours)
        for start in range(0, len(neighbours), step):
            yield neighbours[start : start + step]


@dataclass(frozen=True)
class _Signature:
    index: int
    part: StageShare
    inputs: Mapping[str, Any]  # name to buffer, in the order run_by_index takes them
    outputs: Mapping[str, Any]


class _Opened:
    def __init__(self, model: Any, stage: Stage) -> None:
        self.model = model
        self.buffers: list[Any] = []
        self.caches: dict[str, Any] = {}
        self.signatures = {key: self._signature(key, part) for key, part in stage.parts.items()}

    def run(
        self,
        batch: Sequence[StageCall],
        crossing: Crossing,
        given: Callable[[StageCall], Mapping[str, NDArray[Any]]],
    ) -> NDArray[np.float32] | None:
        """Run calls of one signature: as many as its share takes, or fewer and the last one repeatedly."""
        first, signature = batch[0], self.signatures[batch[0].key]
        for name, index in signature.part.inputs.items():
            if name in self.caches:
                continue
            count, dtype = _form(signature.part, index)
            if name in GIVEN:
                found = np.stack([given(each)[name].reshape(-1) for each in batch])
            else:
                size = count * dtype.itemsize
                found = crossing.get((first.key, name), first.number, len(batch), size).view(dtype)
            if missing := signature.part.calls - len(batch):
                found = np.concatenate([found, np.repeat(found[-1:], missing, axis=0)])
            signature.inputs[name].write(found)
        self.model.run_by_index(
            signature.index, list(signature.inputs.values()), list(signature.outputs.values())
        )
        logits = None
        for name, index in signature.part.outputs.items():
            if name in self.caches or (name == LOGITS and not first.wanted):
                continue
            count, dtype = _form(signature.part, index)
            result = signature.outputs[name].read(signature.part.calls * count, dtype.type)
            result = result.reshape(-1, count)[: len(batch)]
            if name == LOGITS:
                logits = result
            else:
                crossing.put((first.key, name), first.number, result)
        return logits

    def close(self) -> None:
        # Buffers before the model, the model before its environment.
        for buffer in self.buffers:
            buffer.destroy()
        close_model(self.model)

    def _signature(self, key: str, part: StageShare) -> _Signature:
        index = self.model.get_signature_index(key)
        listing = self.model.get_signature_by_index(index)
        for name in part.outputs:
            if name in part.inputs and name not in self.caches:
                self.caches[name] = self._kept(self.model.create_input_buffer_by_name(key, name))
                # Slots past the position are masked but still multiplied by 0: they must be finite.
                self.caches[name].write(np.zeros(*_form(part, part.inputs[name])))
        inputs = {
            name: self.caches.get(name) or self._kept(self.model.create_input_buffer_by_name(key, name))
            for name in listing["inputs"]
        }
        outputs = {
            name: self.caches.get(name) or self._kept(self.model.create_output_buffer_by_name(key, name))
            for name in listing["outputs"]
        }
        return _Signature(index, part, inputs, outputs)

    def _kept(self, buffer: Any) -> Any:
        self.buffers.append(buffer)
        return buffer


def _form(part: StageShare, index: int) -> tuple[int, np.dtype[Any]]:
    """How many numbers a tensor holds for one call, and their type."""
    return math.prod(part.shape(index)) // part.calls, DTYPES[part.signature.tensors[index].type]
