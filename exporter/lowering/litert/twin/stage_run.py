"""Running one stage of a twin for all calls of a route, its caches carried from call to call.

Not about what is cut where (`stages`) or the stages' order (`float_twin`).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from exporter.lowering.litert.twin.crossing import Crossing
from exporter.lowering.litert.twin.stages import Stage, StageShare
from runtimes.litert.calls import LOGITS, GraphCall
from runtimes.litert.compiled import close_model, compile_model, refusals_explained

THREADS = 2
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
) -> Generator[NDArray[np.float32] | None]:
    """Yields for every call the wanted logits [vocab] if this stage makes them, else None.

    file: of the stage; XNNPACK's packed weights go beside it. artifact: for messages. given: the
    graph's own inputs for a call. Raises ArtifactError where LiteRT refuses the file.
    """
    with refusals_explained(artifact):
        model = compile_model(file, file.parent, THREADS)
        opened = _Opened(model, stage)
    try:
        for call in calls:
            yield opened.run(call, crossing, given) if call.key in stage.parts else None
    finally:
        opened.close()


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
        call: StageCall,
        crossing: Crossing,
        given: Callable[[StageCall], Mapping[str, NDArray[Any]]],
    ) -> NDArray[np.float32] | None:
        signature, values = self.signatures[call.key], given(call)
        for name, index in signature.part.inputs.items():
            if name in values:
                signature.inputs[name].write(values[name])
            elif name not in self.caches:
                shape, dtype = _form(signature.part, index)
                signature.inputs[name].write(crossing.get((call.key, name), call.number, shape, dtype))
        self.model.run_by_index(
            signature.index, list(signature.inputs.values()), list(signature.outputs.values())
        )
        logits = None
        for name, index in signature.part.outputs.items():
            if name in self.caches or (name == LOGITS and not call.wanted):
                continue
            shape, dtype = _form(signature.part, index)
            result = signature.outputs[name].read(int(np.prod(shape)), dtype.type)
            if name == LOGITS:
                logits = result
            else:
                crossing.put((call.key, name), call.number, result)
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
                shape, dtype = _form(part, part.inputs[name])
                # Slots past the position are masked but still multiplied by 0: they must be finite.
                self.caches[name].write(np.zeros(shape, dtype))
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


def _form(part: StageShare, index: int) -> tuple[tuple[int, ...], np.dtype[Any]]:
    tensor = part.signature.tensors[index]
    return tuple(int(side) for side in tensor.shape), DTYPES[tensor.type]
