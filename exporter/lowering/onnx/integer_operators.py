"""`IntegerOperators`: which operators look integer matrices up and multiply with them; ONNX Runtime's own.

A graph has one choice. `KernelOperators` is that of processors: the contrib operators whose kernels
compute with integers. A browser's is `web_operators`. Not about where the bytes lie (`stored_tensors`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor

from exporter.errors import LoweringError
from exporter.lowering.onnx.graph_builder import CONTRIB, GraphBuilder
from exporter.lowering.onnx.stored_tensors import (
    CodeBytes,
    DataTensor,
    FilledCodeBytes,
    ScaleBytes,
    StoredZeroPointBytes,
    ZeroPointBytes,
    block_size,
    blocks_of,
    kernel_block_size,
)
from exporter.quantization.store.checkpoint import IntegerMatrix

# 4: activations are rounded to int8 per block. With 0 or 1 (fp32) an 8-bit matrix is dequantised
# whole on every call, 30 to 100 times slower per decoded token (ONNX Runtime 1.32).
ACCURACY_LEVEL, ACCURACY_FP32 = 4, 1
# An int8 activation costs as much quality as an int8 weight (270M: mean KL 0.009 beside 0.006), so
# 8-bit matrices get it in two parts, which a decoding kernel reads the weights for once. Beside what
# 4-bit weights cost it is nothing.
SPLIT_FROM_BITS = 8
TINY = 1e-30  # keeps the step of a block of zeros above 0


class IntegerOperators(Protocol):
    """Adds operators to a graph. arithmetic: what they do to activations, for whoever opens the file."""

    @property
    def arithmetic(self) -> str: ...

    def of_many_rows(self) -> IntegerOperators:
        """The same for a graph that multiplies hundreds of rows at a time, as a picture's patches."""
        ...

    def look_up(self, graph: GraphBuilder, tokens: Tensor, matrix: IntegerMatrix) -> Tensor:
        """Rows of a matrix in fp32, [1, tokens, in]."""
        ...

    def multiply(self, graph: GraphBuilder, x: Tensor, matrices: tuple[IntegerMatrix, ...]) -> Tensor:
        """x [1, tokens, in] through matrices of one scheme, one below the other: [1, tokens, out]."""
        ...


@dataclass(frozen=True)
class KernelOperators:
    """MatMulNBits, and GatherBlockQuantized. Satisfies `IntegerOperators`.

    rounding: whether activations are rounded to int8, which saves dequantising matrices on every call. Of
    4,096 patches that is nothing beside the products, and parts of them are a GB (docs/adr/0034).
    """

    rounding: bool = True

    @property
    def arithmetic(self) -> str:
        if not self.rounding:
            return "fp32"
        return "fp32; inputs of 8-bit matmuls as two int8 parts, of 4-bit ones rounded to int8"

    def of_many_rows(self) -> KernelOperators:
        return KernelOperators(rounding=False)

    def look_up(self, graph: GraphBuilder, tokens: Tensor, matrix: IntegerMatrix) -> Tensor:
        block, bits = block_size(matrix), matrix.scheme.bits
        rows, width = matrix.shape
        content = CodeBytes((matrix.name,))
        codes = graph.weight(DataTensor(f"{matrix.name}.rows", "uint8", (rows, width * bits // 8), content))
        scales, zeros = block_scales(graph, (matrix,), block), zero_points(graph, (matrix,), block)
        operands = (codes, tokens, scales, zeros)
        attributes = {"bits": bits, "block_size": block, "gather_axis": 0, "quantize_axis": 1}
        shape = (*tokens.shape, width)
        kind, name = f"{CONTRIB}::GatherBlockQuantized", f"{stem(matrix.name)}.lookup"
        return graph.op(kind, operands, shape, attributes, name=name)

    def multiply(self, graph: GraphBuilder, x: Tensor, matrices: tuple[IntegerMatrix, ...]) -> Tensor:
        name = joined([matrix.name for matrix in matrices])
        tokens, inputs = x.shape[1], x.shape[2]
        rows = sum(matrix.shape[0] for matrix in matrices)
        block, bits = kernel_block_size(matrices[0]), matrices[0].scheme.bits
        attributes = {
            "K": inputs,
            "N": rows,
            "accuracy_level": ACCURACY_LEVEL if self.rounding else ACCURACY_FP32,
            "bits": bits,
            "block_size": block,
        }
        split = self.rounding and bits >= SPLIT_FROM_BITS
        parts = _coarse_and_rest(graph, x, block) if split else x
        codes = packed_codes(graph, matrices, block)
        scales, zeros = block_scales(graph, matrices, block), zero_points(graph, matrices, block)
        operands = (parts, codes, scales, zeros)
        shape = (*parts.shape[:-1], rows)
        y = graph.op(f"{CONTRIB}::MatMulNBits", operands, shape, attributes, name=stem(name))
        if not split:
            return y
        axes = graph.constant(np.array([0], np.int64))
        return graph.op("ReduceSum", (y, axes), (1, tokens, rows), {"keepdims": 1})


def packed_codes(graph: GraphBuilder, matrices: tuple[IntegerMatrix, ...], block: int) -> Tensor:
    """Codes as MatMulNBits wants them, [rows, blocks, bytes of a block]."""
    names = tuple(matrix.name for matrix in matrices)
    rows, inputs, bits = (
        sum(each.shape[0] for each in matrices),
        matrices[0].shape[1],
        matrices[0].scheme.bits,
    )
    blocks = blocks_of(matrices[0], block)
    shape = (rows, blocks, block * bits // 8)
    content = FilledCodeBytes(names, blocks * block) if inputs % block else CodeBytes(names)
    return graph.weight(DataTensor(f"{joined(names)}.codes", "uint8", shape, content))


def block_scales(graph: GraphBuilder, matrices: tuple[IntegerMatrix, ...], block: int) -> Tensor:
    """Of matrices one below the other, [rows, blocks]."""
    names = tuple(matrix.name for matrix in matrices)
    rows, blocks = sum(matrix.shape[0] for matrix in matrices), blocks_of(matrices[0], block)
    content = ScaleBytes(names, block)
    return graph.weight(DataTensor(f"{joined(names)}.scales", "float32", (rows, blocks), content))


def zero_points(graph: GraphBuilder, matrices: tuple[IntegerMatrix, ...], block: int) -> Tensor:
    """Of matrices one below the other, [rows, bytes of a row's zero points].

    Matrices of a symmetric scheme that are of one shape share theirs.
    """
    names = tuple(matrix.name for matrix in matrices)
    rows, blocks = sum(matrix.shape[0] for matrix in matrices), blocks_of(matrices[0], block)
    scheme = matrices[0].scheme
    shape = (rows, -(-blocks * scheme.bits // 8))
    if scheme.zero_points:
        content = StoredZeroPointBytes(names, block)
        return graph.weight(DataTensor(f"{joined(names)}.zeros", "uint8", shape, content))
    label = f"zeros.{scheme.bits}bit.{rows}x{blocks}"
    return graph.weight(DataTensor(label, "uint8", shape, ZeroPointBytes(rows, blocks, scheme.bits)))


def stem(name: str) -> str:
    """A weight's module: "a.q_proj.weight": "a.q_proj"."""
    return name.removesuffix(".weight")


def joined(names: Sequence[str]) -> str:
    """One name for an input's matrices: "a.q_proj.weight", "a.k_proj.weight": "a.q_proj+k_proj.weight"."""
    if len(names) == 1:
        return names[0]
    parts = [stem(name).rpartition(".") for name in names]
    if len({part[0] for part in parts}) > 1:
        raise LoweringError(names[0], f"shares an input with {names[1]} of another module", "export again")
    return f"{parts[0][0]}.{'+'.join(part[2] for part in parts)}.weight"


def _coarse_and_rest(graph: GraphBuilder, x: Tensor, block: int) -> Tensor:
    """[1, tokens, in] to [2, tokens, in], which sum to x: as MatMulNBits rounds it, and the rest.

    The kernel rounds each part to int8 per block, symmetrically, by its largest magnitude: the
    coarse part passes unchanged, the rest keeps 7 bits more. Exact for kernels that do not round.
    """
    tokens, inputs = x.shape[1], x.shape[2]
    filled = _filled_up(graph, x, -inputs % block)
    blocks = filled.reshape(1, tokens, filled.shape[2] // block, block)
    size = graph.op("Abs", (blocks,), blocks.shape)
    axes = graph.constant(np.array([3], np.int64))
    largest = graph.op("ReduceMax", (size, axes), (*blocks.shape[:3], 1), {"keepdims": 1})
    step = largest * (1.0 / 127) + TINY
    codes = graph.op("Round", (blocks / step,), blocks.shape)
    coarse = (codes * step).reshape(*filled.shape)
    if filled.shape != x.shape:
        bounds = [graph.constant(np.array([n], np.int64)) for n in (0, inputs, 2)]
        coarse = graph.op("Slice", (coarse, *bounds), x.shape)
    return graph.op("Concat", (coarse, x - coarse), (2, *x.shape[1:]), {"axis": 0})


def _filled_up(graph: GraphBuilder, x: Tensor, missing: int) -> Tensor:
    """With so many zeros behind its last axis."""
    if not missing:
        return x
    pads = graph.constant(np.array([0, 0, 0, 0, 0, missing], np.int64))
    return graph.op("Pad", (x, pads), (*x.shape[:2], x.shape[2] + missing))
