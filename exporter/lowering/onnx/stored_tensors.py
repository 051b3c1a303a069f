"""`DataTensor`: a tensor of the graph whose bytes lie in the external data file.

What it holds is a value too (`Content`): two tensors of equal content share their bytes, which is
how a tied embedding is stored once though the head wants it as [rows, blocks, block bytes] and the
lookup as [rows, row bytes]. Not about where bytes go (`external_data`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, assert_never

import numpy as np
import torch
from numpy.typing import NDArray

from exporter.checkpoints.interface import CodeScales
from exporter.errors import LoweringError
from exporter.models.text.rotary import inverse_frequencies
from exporter.models.text.spec import Rope
from exporter.quantization.methods.interface import ZeroPoints
from exporter.quantization.store.checkpoint import (
    FloatMatrix,
    IntegerMatrix,
    Matrix,
    QuantizedCheckpoint,
    row_chunks,
)
from exporter.quantization.store.packing import TOP_BITS, pack

# The largest block of a scheme with one scale per row, which MatMulNBits wants repeated per block.
# Larger is faster and smaller on disk; 256 is the largest ONNX Runtime has fast kernels for.
CHANNEL_BLOCK = 256
SMALLEST_BLOCK = 16  # of MatMulNBits and GatherBlockQuantized
# Blocks below that have no fast kernels, and as many scales as a tenth of the codes: a SigLIP's 4304 inputs
# have no larger block than 16, and are filled up to 17 blocks of 256.
SMALLEST_FAST_BLOCK = 32
ROPE_ROWS = 4096  # positions computed at once


@dataclass(frozen=True)
class CodeBytes:
    """Offset-binary codes of matrices one below the other."""

    weights: tuple[str, ...]


@dataclass(frozen=True)
class FilledCodeBytes:
    """`CodeBytes` whose rows are filled up to so many inputs, with what is multiplied with nothing."""

    weights: tuple[str, ...]
    inputs: int


@dataclass(frozen=True)
class ScaleBytes:
    """fp32 scales of matrices one below the other, one per block of inputs."""

    weights: tuple[str, ...]
    block: int


@dataclass(frozen=True)
class ZeroPointBytes:
    """The offset of the codes, 2^(bits-1), for [rows, blocks]: what symmetric schemes take off them.
    Explicit: providers' defaults differ."""

    rows: int
    blocks: int
    bits: int


@dataclass(frozen=True)
class StoredZeroPointBytes:
    """Zero points of matrices one below the other, one per block of inputs, offset binary as the codes."""

    weights: tuple[str, ...]
    block: int


@dataclass(frozen=True)
class HalvedCodeBytes:
    """8-bit codes of matrices one below the other, each row's upper halves before its lower ones, two a
    byte (`web_operators`)."""

    weights: tuple[str, ...]


@dataclass(frozen=True)
class HalvedScaleBytes:
    """What `HalvedCodeBytes` are multiplied with: 16 times each block's scale, then the scales."""

    weights: tuple[str, ...]
    block: int


@dataclass(frozen=True)
class HalvedZeroPointBytes:
    """The offsets of `HalvedCodeBytes` for [rows, 2 * blocks]: 8 of upper halves, 0 of lower ones."""

    rows: int
    blocks: int


@dataclass(frozen=True)
class HalvedStoredZeroPointBytes:
    """Zero points of 8 bits of `HalvedCodeBytes`: the upper halves of each block's, then the lower ones."""

    weights: tuple[str, ...]
    block: int


@dataclass(frozen=True)
class FloatBytes:
    """Floating-point matrices one below the other, as stored."""

    weights: tuple[str, ...]


@dataclass(frozen=True)
class Gain:
    """A norm's gain or a scalar as the decoder multiplies by it, times `factor`."""

    weight: str
    factor: float


@dataclass(frozen=True)
class VectorBytes:
    """A vector of a tower as it is, and so much more."""

    weight: str
    plus: float


@dataclass(frozen=True)
class Ones:
    """The gain of a norm that has none."""

    width: int


@dataclass(frozen=True)
class RopeTable:
    """Cosines or sines of positions 0 to rows - 1, [rows, head_dim / 2]."""

    rope: Rope
    head_dim: int
    rows: int
    function: str  # "cos" or "sin"


Content = (
    CodeBytes
    | FilledCodeBytes
    | ScaleBytes
    | ZeroPointBytes
    | StoredZeroPointBytes
    | HalvedCodeBytes
    | HalvedScaleBytes
    | HalvedZeroPointBytes
    | HalvedStoredZeroPointBytes
    | FloatBytes
    | Gain
    | VectorBytes
    | Ones
    | RopeTable
)


@dataclass(frozen=True)
class DataTensor:
    """One initializer: its name in the graph, type, shape, and what its bytes are."""

    name: str
    dtype: str  # numpy's name: "uint8", "float32", "float16"
    shape: tuple[int, ...]
    content: Content

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


def block_size(matrix: IntegerMatrix) -> int:
    """Inputs that share a scale in the file: the scheme's group, or a power of two that divides a row.

    Raises LoweringError where no block MatMulNBits knows divides the row.
    """
    inputs = matrix.shape[1]
    if matrix.scheme.group is not None:
        return matrix.scheme.group
    block = CHANNEL_BLOCK
    while inputs % block:
        block //= 2
    if block < SMALLEST_BLOCK:
        raise LoweringError(
            matrix.name,
            f"its {inputs} inputs are no multiple of {SMALLEST_BLOCK}, which MatMulNBits needs",
            "choose fp16 or fp32 for it in the recipe",
        )
    return block


def kernel_block_size(matrix: IntegerMatrix) -> int:
    """`block_size` for operators that take rows whose last block is not full: no smaller than they are
    fast with, where the scheme leaves that open."""
    inputs = matrix.shape[1]
    if matrix.scheme.group is None and inputs & -inputs < SMALLEST_FAST_BLOCK:
        return min(CHANNEL_BLOCK, max(SMALLEST_FAST_BLOCK, 1 << (inputs - 1).bit_length()))
    return block_size(matrix)


def blocks_of(matrix: IntegerMatrix, block: int) -> int:
    """Blocks of a row, the last one full or not."""
    return -(-matrix.shape[1] // block)


def pieces(content: Content, checkpoint: QuantizedCheckpoint) -> Iterator[NDArray[Any]]:
    """The bytes of a stored tensor in order, a row chunk of one matrix at a time."""
    match content:
        case CodeBytes(weights):
            for matrix in _integer(checkpoint, weights):
                for start, stop in row_chunks(matrix):
                    yield matrix.packed(start, stop)
        case FilledCodeBytes(weights, inputs):
            for matrix in _integer(checkpoint, weights):
                for start, stop in row_chunks(matrix):
                    yield _filled(matrix, matrix.packed(start, stop), inputs)
        case ScaleBytes(weights, block):
            for matrix in _integer(checkpoint, weights):
                for start, stop in row_chunks(matrix):
                    yield _block_scales(matrix, matrix.scales(start, stop), block)
        case ZeroPointBytes(rows, blocks, bits):
            row = -(-blocks * bits // 8)
            yield np.full((rows, row), _zero_byte(bits), np.uint8)
        case StoredZeroPointBytes(weights, block):
            for matrix in _integer(checkpoint, weights):
                for start, stop in row_chunks(matrix):
                    yield _block_zero_points(matrix, matrix.zero_points(start, stop), block)
        case HalvedCodeBytes(weights):
            for matrix in _integer(checkpoint, weights):
                for start, stop in row_chunks(matrix):
                    yield _halves(matrix.packed(start, stop))
        case HalvedScaleBytes(weights, block):
            for matrix in _integer(checkpoint, weights):
                for start, stop in row_chunks(matrix):
                    scales = _block_scales(matrix, matrix.scales(start, stop), block)
                    yield np.concatenate([scales * np.float32(16), scales], axis=1)
        case HalvedZeroPointBytes(rows, blocks):
            offsets = np.repeat(np.array([8, 0], np.uint8), blocks)
            yield np.tile(offsets[0::2] | offsets[1::2] << 4, (rows, 1))
        case HalvedStoredZeroPointBytes(weights, block):
            for matrix in _integer(checkpoint, weights):
                for start, stop in row_chunks(matrix):
                    zero_points = matrix.zero_points(start, stop)
                    yield _halves(_block_zero_points(matrix, zero_points, block))
        case FloatBytes(weights):
            for name in weights:
                values = checkpoint.matrices[name]
                if not isinstance(values, FloatMatrix):
                    raise _other_scheme(values, "a floating-point scheme")
                for start, stop in row_chunks(values):
                    yield values.stored(start, stop)
        case Gain(weight, factor):
            yield checkpoint.components["text"].gains()[weight] * np.float32(factor)
        case VectorBytes(weight, plus):
            yield checkpoint.vectors[weight] + np.float32(plus)
        case Ones(width):
            yield np.ones(width, np.float32)
        case RopeTable():
            yield from _rope_rows(content)
        case _:
            assert_never(content)


def _integer(checkpoint: QuantizedCheckpoint, weights: tuple[str, ...]) -> Iterator[IntegerMatrix]:
    for name in weights:
        matrix = checkpoint.matrices[name]
        if not isinstance(matrix, IntegerMatrix):
            raise _other_scheme(matrix, "an integer scheme")
        yield matrix


def _other_scheme(matrix: Matrix, expected: str) -> LoweringError:
    return LoweringError(
        matrix.name, f"is stored as {matrix.scheme.name}, the graph expects {expected}", "export again"
    )


def _block_scales(matrix: IntegerMatrix, scales: CodeScales, block: int) -> NDArray[np.float32]:
    """[rows, groups] to [rows, blocks]: a group's scale once for each of its blocks."""
    return np.repeat(scales.astype(np.float32), _blocks_of_a_group(matrix, block), axis=1)


def _block_zero_points(
    matrix: IntegerMatrix, zero_points: ZeroPoints | None, block: int
) -> NDArray[np.uint8]:
    """[rows, groups] to the bytes of [rows, blocks], each row's last one filled up with the lowest code."""
    if zero_points is None:
        raise _other_scheme(matrix, "a scheme with zero points")
    scheme = matrix.scheme
    by_block = np.repeat(zero_points, _blocks_of_a_group(matrix, block), axis=1)
    missing = -by_block.shape[1] % (8 // scheme.bits)
    filling = np.full((len(by_block), missing), scheme.lowest, np.int8)
    return pack(np.concatenate([by_block, filling], axis=1), scheme.bits)


def _blocks_of_a_group(matrix: IntegerMatrix, block: int) -> int:
    return blocks_of(matrix, block) // matrix.scheme.groups(matrix.shape[1])


def _filled(matrix: IntegerMatrix, packed: NDArray[np.uint8], inputs: int) -> NDArray[np.uint8]:
    """Rows of codes up to so many inputs, by the code in the middle."""
    bits = matrix.scheme.bits
    missing = (inputs - matrix.shape[1]) * bits // 8
    filling = np.full((len(packed), missing), _zero_byte(bits), np.uint8)
    return np.concatenate([packed, filling], axis=1)


def _halves(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """[rows, in] of 8-bit codes from 0 to the same number of bytes: upper halves, then lower ones."""
    halves = np.concatenate([codes >> 4, codes & 0x0F], axis=1)
    packed: NDArray[np.uint8] = halves[:, 0::2] | halves[:, 1::2] << 4
    return packed


def _zero_byte(bits: int) -> int:
    return TOP_BITS[bits]  # of every code in a byte: the middle of 0 to 2^bits - 1


def _rope_rows(table: RopeTable) -> Iterator[NDArray[np.float32]]:
    frequencies = inverse_frequencies(table.rope, table.head_dim)
    for start in range(0, table.rows, ROPE_ROWS):
        positions = torch.arange(start, min(table.rows, start + ROPE_ROWS))
        angles = positions[:, None].float() * frequencies
        yield (angles.cos() if table.function == "cos" else angles.sin()).numpy()
