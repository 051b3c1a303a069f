"""`WebOperators`: integer matrices by operators that every build of ONNX Runtime for browsers has.

No build's WebGPU provider rounds activations on the GPU, and the default one multiplies with codes of 4
bits and 2 bits alone. So activations stay fp32, and an 8-bit code c is written as its halves, for
c + 128 = 16 h + l with h and l from 0 to 15:

    scale * c  =  16 scale * (h - 8)  +  scale * (l - 0)

A row of codes holds all its h, then all its l, so the product with x is one 4-bit product with x twice,
of as many bytes as before; a zero point of 8 bits is in halves too, in place of 8 and 0. The same bytes are
a table: looking a row up takes Gather, Cast and arithmetic.
What is more than one operator is a function the graph brings along, which a runtime expands when it opens
the graph; who reads the file finds one operator per matrix.
Why: docs/adr/0020-the-web-has-a-graph-of-its-own.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import onnx
from onnx import parser
from torch import Tensor

from exporter.lowering.onnx.graph_builder import CONTRIB, OPSETS, GraphBuilder
from exporter.lowering.onnx.integer_operators import (
    ACCURACY_FP32,
    block_scales,
    joined,
    packed_codes,
    stem,
    zero_points,
)
from exporter.lowering.onnx.stored_tensors import (
    CodeBytes,
    DataTensor,
    HalvedCodeBytes,
    HalvedScaleBytes,
    HalvedStoredZeroPointBytes,
    HalvedZeroPointBytes,
    block_size,
)
from exporter.quantization.store.checkpoint import IntegerMatrix

DOMAIN = "gemma_export"
MULTIPLY_HALVES, LOOK_UP_HALVES, LOOK_UP_4_BITS = "MatMulHalves", "GatherHalves", "Gather4Bits"
LOOK_UP_HALVES_LESS_ZEROS, LOOK_UP_4_BITS_LESS_ZEROS = "GatherHalvesLessZeros", "Gather4BitsLessZeros"

_HEADER = f'<opset_import: ["" : {OPSETS[""]}, "{CONTRIB}" : 1], domain: "{DOMAIN}">'
_MULTIPLY_HALVES = f"""{_HEADER}
{MULTIPLY_HALVES} <K, K_twice, N, block_size> (x, codes, scales, zeros) => (y)
{{
   twice = Concat <axis = -1> (x, x)
   y = {CONTRIB}.MatMulNBits
      <K: int = @K_twice, N: int = @N, bits = 4, block_size: int = @block_size,
       accuracy_level = {ACCURACY_FP32}> (twice, codes, scales, zeros)
}}"""
# Codes of 4 bits lie two a byte, the low half first.
_UNPACK = """
   packed = Gather <axis = 0> (codes, tokens)
   bytes = Cast <to = 1> (packed)
   sixteen = Constant <value_float = 16.0> ()
   quotient = Div (bytes, sixteen)
   high = Floor (quotient)
   times = Mul (high, sixteen)
   low = Sub (bytes, times)
   last = Constant <value_ints = [-1]> ()
   low_of_pair = Unsqueeze (low, last)
   high_of_pair = Unsqueeze (high, last)
   pairs = Concat <axis = -1> (low_of_pair, high_of_pair)
   flat = Constant <value_ints = [0, 0, -1]> ()
   halves = Reshape (pairs, flat)
   all_scales = Gather <axis = 0> (scales, tokens)"""
_SCALE = """
   grouping = Constant <value_ints: ints = @grouping> ()
   by_block = Reshape (numbers, grouping)
   scale_of_block = Unsqueeze (scale, last)
   scaled = Mul (by_block, scale_of_block)
   rows = Reshape (scaled, flat)"""
_LOOK_UP_HALVES = f"""{_HEADER}
{LOOK_UP_HALVES} <grouping, widths, blocks> (codes, tokens, scales) => (rows)
{{{_UNPACK}
   two_widths = Constant <value_ints: ints = @widths> ()
   h, l = Split <axis = -1> (halves, two_widths)
   two_blocks = Constant <value_ints: ints = @blocks> ()
   sixteen_scale, scale = Split <axis = -1> (all_scales, two_blocks)
   sixteen_h = Mul (h, sixteen)
   c_from_0 = Add (sixteen_h, l)
   offset = Constant <value_float = 128.0> ()
   numbers = Sub (c_from_0, offset){_SCALE}
}}"""
_LOOK_UP_4_BITS = f"""{_HEADER}
{LOOK_UP_4_BITS} <grouping> (codes, tokens, scales) => (rows)
{{{_UNPACK}
   scale = Identity (all_scales)
   offset = Constant <value_float = 8.0> ()
   numbers = Sub (halves, offset){_SCALE}
}}"""

# Zero points of a row's blocks lie as its codes do.
_UNPACK_ZEROS = """
   packed_zeros = Gather <axis = 0> (zeros, tokens)
   zero_bytes = Cast <to = 1> (packed_zeros)
   zero_quotient = Div (zero_bytes, sixteen)
   zero_high = Floor (zero_quotient)
   zero_times = Mul (zero_high, sixteen)
   zero_low = Sub (zero_bytes, zero_times)
   zero_low_of_pair = Unsqueeze (zero_low, last)
   zero_high_of_pair = Unsqueeze (zero_high, last)
   zero_pairs = Concat <axis = -1> (zero_low_of_pair, zero_high_of_pair)
   zero_halves = Reshape (zero_pairs, flat)"""
_SHIFT_AND_SCALE = """
   grouping = Constant <value_ints: ints = @grouping> ()
   by_block = Reshape (numbers, grouping)
   zero_of_block = Unsqueeze (zero, last)
   shifted = Sub (by_block, zero_of_block)
   scale_of_block = Unsqueeze (scale, last)
   scaled = Mul (shifted, scale_of_block)
   rows = Reshape (scaled, flat)"""
_LOOK_UP_HALVES_LESS_ZEROS = f"""{_HEADER}
{LOOK_UP_HALVES_LESS_ZEROS} <grouping, widths, blocks> (codes, tokens, scales, zeros) => (rows)
{{{_UNPACK}{_UNPACK_ZEROS}
   two_widths = Constant <value_ints: ints = @widths> ()
   h, l = Split <axis = -1> (halves, two_widths)
   sixteen_h = Mul (h, sixteen)
   numbers = Add (sixteen_h, l)
   two_blocks = Constant <value_ints: ints = @blocks> ()
   zero_h, zero_l = Split <axis = -1> (zero_halves, two_blocks)
   sixteen_zero_h = Mul (zero_h, sixteen)
   zero = Add (sixteen_zero_h, zero_l)
   sixteen_scale, scale = Split <axis = -1> (all_scales, two_blocks){_SHIFT_AND_SCALE}
}}"""
_LOOK_UP_4_BITS_LESS_ZEROS = f"""{_HEADER}
{LOOK_UP_4_BITS_LESS_ZEROS} <grouping, blocks> (codes, tokens, scales, zeros) => (rows)
{{{_UNPACK}{_UNPACK_ZEROS}
   scale = Identity (all_scales)
   numbers = Identity (halves)
   first = Constant <value_ints = [0]> ()
   count = Constant <value_ints: ints = @blocks> ()
   zero = Slice (zero_halves, first, count, last){_SHIFT_AND_SCALE}
}}"""
# By a scheme's bits and whether it has zero points.
_LOOK_UPS = {
    (8, False): _LOOK_UP_HALVES,
    (8, True): _LOOK_UP_HALVES_LESS_ZEROS,
    (4, False): _LOOK_UP_4_BITS,
    (4, True): _LOOK_UP_4_BITS_LESS_ZEROS,
}


@dataclass(frozen=True)
class WebOperators:
    """Satisfies `IntegerOperators`."""

    arithmetic: str = "fp32"

    def of_many_rows(self) -> WebOperators:
        return self

    def look_up(self, graph: GraphBuilder, tokens: Tensor, matrix: IntegerMatrix) -> Tensor:
        block, bits = block_size(matrix), matrix.scheme.bits
        rows, width = matrix.shape
        names = (matrix.name,)
        content = HalvedCodeBytes(names) if bits == 8 else CodeBytes(names)
        codes = DataTensor(f"{matrix.name}.rows", "uint8", (rows, width * bits // 8), content)
        with_zeros, blocks = matrix.scheme.zero_points, width // block
        kind = graph.function(_function(_LOOK_UPS[bits, with_zeros]))
        attributes: dict[str, tuple[int, ...]] = {"grouping": (0, 0, -1, block)}
        if bits == 8:
            attributes |= {"widths": (width, width), "blocks": (blocks, blocks)}
        elif with_zeros:
            attributes |= {"blocks": (blocks,)}
        operands = [graph.weight(codes), tokens, _scales(graph, (matrix,), block)]
        if with_zeros:
            operands.append(_zeros(graph, (matrix,), block))
        shape = (*tokens.shape, width)
        return graph.op(kind, operands, shape, attributes, name=f"{stem(matrix.name)}.lookup")

    def multiply(self, graph: GraphBuilder, x: Tensor, matrices: tuple[IntegerMatrix, ...]) -> Tensor:
        name = joined([matrix.name for matrix in matrices])
        block, bits, inputs = block_size(matrices[0]), matrices[0].scheme.bits, x.shape[2]
        rows = sum(matrix.shape[0] for matrix in matrices)
        sizes = {"K": inputs, "N": rows, "block_size": block}
        scales, zeros = _scales(graph, matrices, block), _zeros(graph, matrices, block)
        if bits == 8:
            kind, attributes = graph.function(_function(_MULTIPLY_HALVES)), {**sizes, "K_twice": 2 * inputs}
            codes = _halved_codes(graph, matrices, block)
        else:
            kind = f"{CONTRIB}::MatMulNBits"
            attributes = {**sizes, "accuracy_level": ACCURACY_FP32, "bits": bits}
            codes = packed_codes(graph, matrices, block)
        shape = (*x.shape[:-1], rows)
        return graph.op(kind, (x, codes, scales, zeros), shape, attributes, name=stem(name))


def _function(text: str) -> onnx.FunctionProto:
    parsed: Any = parser.parse_function(text)
    assert isinstance(parsed, onnx.FunctionProto)
    return parsed


def _halved_codes(graph: GraphBuilder, matrices: tuple[IntegerMatrix, ...], block: int) -> Tensor:
    names = tuple(matrix.name for matrix in matrices)
    shape = (sum(each.shape[0] for each in matrices), 2 * matrices[0].shape[1] // block, block // 2)
    return graph.weight(DataTensor(f"{joined(names)}.codes", "uint8", shape, HalvedCodeBytes(names)))


def _scales(graph: GraphBuilder, matrices: tuple[IntegerMatrix, ...], block: int) -> Tensor:
    """[rows, blocks]; of halved codes for h and then for l, [rows, 2 * blocks]."""
    if matrices[0].scheme.bits != 8:
        return block_scales(graph, matrices, block)
    names = tuple(matrix.name for matrix in matrices)
    rows, blocks = sum(matrix.shape[0] for matrix in matrices), matrices[0].shape[1] // block
    content = HalvedScaleBytes(names, block)
    return graph.weight(DataTensor(f"{joined(names)}.scales", "float32", (rows, 2 * blocks), content))


def _zeros(graph: GraphBuilder, matrices: tuple[IntegerMatrix, ...], block: int) -> Tensor:
    if matrices[0].scheme.bits != 8:
        return zero_points(graph, matrices, block)
    rows, blocks = sum(matrix.shape[0] for matrix in matrices), matrices[0].shape[1] // block
    if matrices[0].scheme.zero_points:
        names = tuple(matrix.name for matrix in matrices)
        stored = HalvedStoredZeroPointBytes(names, block)
        return graph.weight(DataTensor(f"{joined(names)}.zeros", "uint8", (rows, blocks), stored))
    content = HalvedZeroPointBytes(rows, blocks)
    return graph.weight(DataTensor(f"zeros.halves.{rows}x{blocks}", "uint8", (rows, blocks), content))
