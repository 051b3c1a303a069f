"""Small packages written by coremltools, for the MIL evaluator's tests to read, and to damage.

Not about what the evaluator makes of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import coremltools as ct
import numpy as np
from coremltools.converters.mil import Builder as mb
from coremltools.converters.mil.mil import Function, Program, types
from coremltools.proto import Model_pb2

Var = Any  # a value of the program being built

VOCAB, WIDTH, CONTEXT, CHUNK = 11, 4, 12, 5


def save_program(
    path: Path,
    inputs: Mapping[str, Var],
    build: Callable[..., list[Var]],
    ranges: list[ct.TensorType] | None = None,
) -> Path:
    """A package of one function: `build` is called with the inputs by name, inside the function."""
    with Function(dict(inputs), opset_version=ct.target.iOS18) as function:
        function.set_outputs(build(**function.inputs))
    program = Program()
    program.add_function("main", function)
    model = ct.convert(
        program,
        inputs=ranges,
        minimum_deployment_target=ct.target.iOS18,
        compute_precision=ct.precision.FLOAT32,
        pass_pipeline=ct.PassPipeline.EMPTY,  # a pass would fold or merge the calls under test
        skip_model_load=True,
    )
    model.save(str(path))
    return path


def save_language_model(path: Path) -> Path:
    """inputIds, causalMask → logits: each position's embedding plus the mean of all before it, projected.

    No transformer, but everything a session needs: ranged inputs, a cache written at a runtime
    position and read back, a vocabulary. `language_model_logits` is its answer.
    """
    table, head = _language_model_weights()

    def build(inputIds: Var, causalMask: Var, keyCache: Var) -> list[Var]:
        def size(x: Var, axis: int) -> Var:
            return mb.gather(x=mb.shape(x=x), indices=np.array([axis], np.int32), axis=0)

        end, zero = size(causalMask, 3), np.array([0], np.int32)
        past = mb.sub(x=end, y=size(inputIds, 1))
        x = mb.gather(x=table, indices=inputIds, axis=0)
        bounds = {
            "begin": mb.concat(values=(zero, past, zero), axis=0),
            "end": mb.concat(values=(zero, end, zero), axis=0),
            "end_mask": (True, False, True),
        }
        updated = mb.slice_update(x=mb.read_state(input=keyCache), update=x, **bounds)
        cache = mb.coreml_update_state(state=keyCache, value=updated)
        rows = mb.reshape(x=mb.range_1d(start=np.int32(0), end=CONTEXT, step=1), shape=(1, -1))
        mine = mb.reshape(
            x=mb.slice_by_index(x=np.arange(CONTEXT, dtype=np.int32), begin=past, end=end),
            shape=(-1, 1),
        )
        seen = mb.cast(x=mb.less_equal(x=rows, y=mine), dtype="fp16")
        total = mb.matmul(x=seen, y=mb.squeeze(x=cache, axes=(0,)))
        mean = mb.real_div(x=total, y=mb.reduce_sum(x=seen, axes=(1,), keep_dims=True))
        return [mb.linear(x=mb.add(x=x, y=mean), weight=head, name="logits")]

    length, end = ct.RangeDim(1, CHUNK, default=1), ct.RangeDim(1, CONTEXT, default=1)
    symbols = length.symbol, end.symbol
    inputs = {
        "inputIds": mb.placeholder(shape=(1, symbols[0]), dtype=types.int32),
        "causalMask": mb.placeholder(shape=(1, 1, *symbols), dtype=types.fp16),
        "keyCache": mb.state_tensor_placeholder((1, CONTEXT, WIDTH), types.fp16),
    }
    ranges = [
        ct.TensorType("inputIds", shape=(1, length), dtype=np.int32),
        ct.TensorType("causalMask", shape=(1, 1, length, end), dtype=np.float16),
    ]
    return save_program(path, inputs, build, ranges)


def language_model_logits(tokens: list[int]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """What `save_language_model` computes, in numpy: [len(tokens), VOCAB]."""
    table, head = _language_model_weights()
    x = table[tokens].astype(np.float64)
    mean = np.cumsum(x, 0) / np.arange(1, len(tokens) + 1)[:, None]
    answer: np.ndarray[Any, np.dtype[np.float64]] = (x + mean) @ head.T.astype(np.float64)
    return answer


def _language_model_weights() -> tuple[Any, Any]:
    random = np.random.default_rng(2)
    table, head = random.standard_normal((2, VOCAB, WIDTH)).astype(np.float16)
    return table, head


def edit_model(package: Path, change: Callable[[Any], None]) -> None:
    """Change a package's model (a protobuf message) and write it back."""
    file = package / "Data" / "com.apple.CoreML" / "model.mlmodel"
    model = Model_pb2.Model()
    model.ParseFromString(file.read_bytes())
    change(model)
    file.write_bytes(model.SerializeToString())


def edit(package: Path, change: Callable[[Any], None]) -> None:
    """Change the main block of a package."""

    def in_main(model: Any) -> None:
        function = model.mlProgram.functions["main"]
        change(function.block_specializations[function.opset])

    edit_model(package, in_main)


def operation(block: Any, kind: str) -> Any:
    """The first operation of a type."""
    return next(candidate for candidate in block.operations if candidate.type == kind)
