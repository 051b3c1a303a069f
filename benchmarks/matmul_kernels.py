"""One decode step's matmuls in ONNX Runtime, operator by operator: how much faster 4 bits are than 8.

    python -m benchmarks.matmul_kernels [--model 270M 2B] [--rounds N] [--threads N]

Every form of a matmul is the graph `KernelOperators` writes for it (8 bits with their activations in two
parts), or that graph with one thing changed; codes, scales and zero points are random. A shape is repeated
with weights of its own until a call reads more than the processor's caches hold, as a decode step does.
Each form is timed in turn with int8-channel, call by call, and the median ratio is printed: above 1.00 the
form is faster. One thread is timed by the processor time it took, which other work on the machine lengthens
little; several by the clock. The last lines have the whole step by those ratios: a head of 8 bits, which
`int4` keeps, bounds what 4 bits can gain. Not about attention, norms and caches, which no scheme changes.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import helper

from exporter.checkpoints.files.safetensors_file import SafetensorsFile
from exporter.lowering.onnx.artifact_file import set_attribute
from exporter.lowering.onnx.graph_builder import TOKENS, GraphBuilder
from exporter.lowering.onnx.integer_operators import KernelOperators
from exporter.lowering.onnx.stored_tensors import DataTensor
from exporter.quantization.store.checkpoint import IntegerMatrix
from exporter.schemes import SCHEMES, IntegerScheme

BEYOND_CACHES = 64 << 20  # bytes of 4-bit codes a call reads
MOST_ROWS = 1 << 16  # of a head: the rest takes as long, row for row
NO_FILE = SafetensorsFile(Path("random"), {})  # a graph is built without reading


@dataclass(frozen=True)
class Shape:
    """A matmul of the decode step: the matrix [rows, inputs], and how often a step has one like it."""

    name: str
    rows: int
    inputs: int
    times: int


SHAPES = {
    "270M": (
        Shape("qkv", 1536, 640, 18),
        Shape("o", 640, 1024, 18),
        Shape("gate+up", 4096, 640, 18),
        Shape("down", 640, 2048, 18),
        Shape("head", 262144, 640, 1),
    ),
    "2B": (
        Shape("qkv", 4096, 2304, 26),
        Shape("o", 2304, 2048, 26),
        Shape("gate+up", 18432, 2304, 26),
        Shape("down", 2304, 9216, 26),
        Shape("head", 256000, 2304, 1),
    ),
}


def _as_it_is(node: onnx.NodeProto) -> None:
    """The product's own form."""


def _without_zeros(node: onnx.NodeProto) -> None:
    del node.input[3]


def _at_level(level: int) -> Callable[[onnx.NodeProto], None]:
    return lambda node: set_attribute(node, "accuracy_level", level)


@dataclass(frozen=True)
class Form:
    """A scheme, and what is changed about its MatMulNBits. parts: activations as the product gives them."""

    title: str
    scheme: str
    change: Callable[[onnx.NodeProto], None] = _as_it_is
    parts: bool = True


BASE = Form("int8-channel", "int8-channel")
FORMS = (
    Form("int8-channel, one part", "int8-channel", parts=False),
    Form("int4-g32", "int4-g32"),
    Form("int4-g32, no zero points given", "int4-g32", _without_zeros),
    Form("int4-g32, accuracy level 1", "int4-g32", _at_level(1)),
    Form("int4-g32, accuracy level 0", "int4-g32", _at_level(0)),
    Form("int4-g32-zp", "int4-g32-zp"),
    Form("int4-g64", "int4-g64"),
    Form("int4-g64-zp", "int4-g64-zp"),
    Form("int4-g128", "int4-g128"),
    Form("int4-g128-zp", "int4-g128-zp"),
    Form("int4-channel", "int4-channel"),
    Form("int2-g32", "int2-g32"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    for model in options.model:
        _print_table(model, options.rounds, options.threads)


def _print_table(model: str, rounds: int, threads: int) -> None:
    shapes = SHAPES[model]
    print(f"\n{model}, ONNX Runtime {onnxruntime.__version__}, {threads} threads, median of {rounds}\n")
    print(f"| | {' | '.join(f'{each.name} {each.rows} x {each.inputs}' for each in shapes)} |")
    print(f"|---|{'---|' * len(shapes)}", flush=True)
    columns = [_column(shape, rounds, threads) for shape in shapes]
    print(f"| {BASE.title}, ms | {' | '.join(f'{base * 1e3:.3f}' for base, _ in columns)} |")
    for at, form in enumerate(FORMS):
        print(f"| {form.title} | {' | '.join(_ratio(found[at]) for _, found in columns)} |")
    _print_bounds(shapes, columns)


def _ratio(found: float | None) -> str:
    return "–" if found is None else f"{found:.2f}"


def _print_bounds(shapes: tuple[Shape, ...], columns: list[tuple[float, list[float | None]]]) -> None:
    """What a step gains: the layers at a form's ratios, the head at 8 bits or at the form's as well."""
    spent = [shape.times * base for shape, (base, _) in zip(shapes, columns, strict=True)]
    layers, head = sum(spent[:-1]), spent[-1]
    whole = layers + head
    print(f"\nMatmuls of a step in int8-channel: {whole * 1e3:.1f} ms, the head {head / whole:.0%} of it.")
    print(f"Layers that took no time at all, beside a head of 8 bits: {whole / head:.2f} times as fast.")
    for at, form in enumerate(FORMS):
        ratios = [found[at] for _, found in columns]
        known = [ratio for ratio in ratios if ratio is not None]
        if len(known) == len(ratios):
            quick = [took / ratio for took, ratio in zip(spent, known, strict=True)]
            kept, changed = whole / (sum(quick[:-1]) + head), whole / sum(quick)
            print(f"{form.title}: {kept:.2f} with a head of 8 bits, {changed:.2f} with one of this form")


def _column(shape: Shape, rounds: int, threads: int) -> tuple[float, list[float | None]]:
    """Seconds of one matmul in the base form, and how many times as fast each other form is."""
    seconds: list[float] = []
    ratios: list[float | None] = []
    base = _Timed(shape, BASE, threads)
    for form in FORMS:
        other = _Timed(shape, form, threads)
        pairs = [(base.call(), other.call()) for _ in range(rounds)]
        seconds += [took for took, _ in pairs]
        ratios.append(statistics.median(took / against for took, against in pairs))
    return statistics.median(seconds), ratios


class _Timed:
    """A session of one shape, several times over with weights of their own."""

    def __init__(self, shape: Shape, form: Form, threads: int) -> None:
        scheme = SCHEMES[form.scheme]
        assert isinstance(scheme, IntegerScheme)
        self._clock = time.thread_time if threads == 1 else time.perf_counter
        part = replace(shape, rows=min(shape.rows, MOST_ROWS))
        copies = -(-BEYOND_CACHES // (part.rows * part.inputs // 2))
        self._matmuls = copies * part.rows / shape.rows
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = threads, 3
        options.add_session_config_entry("session.force_spinning_stop", "1")  # two sessions take turns
        model, weights = _graph(part, scheme, form, copies)
        names, values = zip(*weights.items(), strict=True)
        options.add_external_initializers(list(names), list(values))
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        x = np.random.default_rng(1).standard_normal((1, 1, shape.inputs)).astype(np.float32)
        self._feeds = {"x": x}
        self.call()

    def call(self) -> float:
        """Seconds of one matmul."""
        start = self._clock()
        self._session.run(None, self._feeds)
        return (self._clock() - start) / self._matmuls


def _graph(
    shape: Shape, scheme: IntegerScheme, form: Form, copies: int
) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """The graph, and its weights by name as values of ONNX Runtime."""
    with GraphBuilder() as graph:
        x = graph.input("x", torch.float32, (1, TOKENS, shape.inputs))
        for copy in range(copies):
            matrix = IntegerMatrix(f"{copy}.weight", (shape.rows, shape.inputs), scheme, NO_FILE)
            y = KernelOperators().multiply(graph, x, (matrix,))
            graph.output(y, f"y.{copy}", (1, TOKENS, shape.rows))
    model = graph.model([])
    for node in model.graph.node:
        if node.op_type == "MatMulNBits":
            form.change(node)
            if not form.parts:
                node.input[0] = "x"
    _drop_unread(model.graph)
    read = {name for node in model.graph.node for name in node.input}
    random = np.random.default_rng(0)
    weights = {}
    for tensor in (each for each in graph.stored.values() if each.name in read):
        if tensor.dtype == "uint8":
            values = random.integers(0, 256, tensor.shape, np.uint8)
        else:
            values = random.uniform(0.01, 0.02, tensor.shape).astype(tensor.dtype)
        weights[tensor.name] = onnxruntime.OrtValue.ortvalue_from_numpy(values)
        model.graph.initializer.append(_declared(tensor))
    return model, weights


def _drop_unread(graph: onnx.GraphProto) -> None:
    """Remove operators nobody reads: ONNX Runtime would compute them."""
    wanted = {output.name for output in graph.output}
    kept: list[onnx.NodeProto] = []
    for node in reversed(graph.node):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            kept.append(node)
    del graph.node[:]
    graph.node.extend(reversed(kept))


def _declared(tensor: DataTensor) -> onnx.TensorProto:
    """An initializer whose value is given when the graph is opened."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(tensor.dtype))
    external = onnx.TensorProto.EXTERNAL
    proto = onnx.TensorProto(name=tensor.name, data_type=kind, dims=tensor.shape, data_location=external)
    proto.external_data.add(key="location", value="none")
    return proto


if __name__ == "__main__":
    main()
