"""`OnnxDialect`: the decoder's operations as ONNX Runtime's kernels want them.

Standard operators where they exist with good kernels (RMSNormalization, Gelu, Gemm, Gather), contrib
ones for attention over a cache (GroupQueryAttention) and for integer weights (MatMulNBits,
GatherBlockQuantized). Not about how operators become a graph (`graph_builder`) or where weights lie
(`stored_tensors`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from exporter.errors import LoweringError
from exporter.lowering.onnx.graph_builder import CONTRIB, EXAMPLE, TOTAL, GraphBuilder
from exporter.lowering.onnx.stored_tensors import (
    CodeBytes,
    DataTensor,
    FloatBytes,
    Gain,
    Ones,
    RopeTable,
    ScaleBytes,
    ZeroPointBytes,
    block_size,
)
from exporter.models.text.spec import LayerSpec, ModelSpec
from exporter.quantization.store.checkpoint import FloatMatrix, IntegerMatrix, Matrix
from exporter.schemes import FloatScheme

# 4: activations are rounded to int8 per block. With 0 or 1 (fp32) an 8-bit matrix is dequantised
# whole on every call, 30 to 100 times slower per decoded token (ONNX Runtime 1.32).
ACCURACY_LEVEL = 4
# An int8 activation costs as much quality as an int8 weight (270M: mean KL 0.009 beside 0.006), so
# 8-bit matrices get it in two parts, which a decoding kernel reads the weights for once. Beside what
# 4-bit weights cost it is nothing.
SPLIT_FROM_BITS = 8
TINY = 1e-30  # keeps the step of a block of zeros above 0
FLOAT = 1  # onnx.TensorProto.FLOAT


@dataclass
class OnnxDialect:
    """Satisfies `Dialect` for one trace.

    context: positions of the RoPE tables. all_logits: logits for every position, or the last one.
    pasts: layer index to (keys, values) [1, kv_heads, past, head_dim]; `presents` collects the same
    after the call. last_key: int32 [1], the position of the call's last token. total: int32 [1],
    positions in the cache after the call.
    """

    spec: ModelSpec
    matrices: Mapping[str, Matrix]
    context: int
    all_logits: bool
    graph: GraphBuilder
    pasts: Mapping[int, tuple[Tensor, Tensor]]
    last_key: Tensor
    total: Tensor
    presents: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    residual_scale: float = 1.0

    def embed(self, tokens: Tensor, weight: str) -> Tensor:
        matrix, name = self.matrices[weight], f"{_stem(weight)}.lookup"
        width = matrix.shape[1]
        shape = (*tokens.shape, width)
        if isinstance(matrix, FloatMatrix):
            table = self._floats((matrix,))
            rows = self.graph.op(
                "Gather", (table, tokens), shape, {"axis": 0}, name=name, dtype=table.dtype
            )
            return self._as_float32(rows)
        block, bits = block_size(matrix), matrix.scheme.bits
        codes = DataTensor(
            f"{weight}.rows", "uint8", (matrix.shape[0], width * bits // 8), CodeBytes((weight,))
        )
        operands = (self.graph.weight(codes), tokens, *self._scales_and_zeros((matrix,), block))
        attributes = {"bits": bits, "block_size": block, "gather_axis": 0, "quantize_axis": 1}
        return self.graph.op(f"{CONTRIB}::GatherBlockQuantized", operands, shape, attributes, name=name)

    def project(self, x: Tensor, weights: Sequence[str]) -> Sequence[Tensor]:
        matrices = tuple(self.matrices[name] for name in weights)
        if len({matrix.scheme for matrix in matrices}) > 1:
            return [self._matmul(x, (matrix,)) for matrix in matrices]
        y = self._matmul(x, matrices)
        if len(matrices) == 1:
            return [y]
        rows = [matrix.shape[0] for matrix in matrices]
        sizes = self.graph.constant(np.array(rows, np.int64))
        shapes = [(*x.shape[:-1], count) for count in rows]
        return self.graph.ops("Split", (y, sizes), shapes, {"axis": -1})

    def norm(self, x: Tensor, gain: str | None, eps: float, scale: float = 1.0) -> Tensor:
        width = x.shape[-1]
        if gain is None:
            stored = DataTensor(f"ones.{width}", "float32", (width,), Ones(width))
        else:
            stored = DataTensor(gain, "float32", (width,), Gain(gain, scale))
        attributes = {"axis": -1, "epsilon": eps, "stash_type": FLOAT}
        name = None if gain is None else _stem(gain)
        operands = (x, self.graph.weight(stored))
        return self.graph.op("RMSNormalization", operands, x.shape, attributes, name=name)

    def attend(self, layer: LayerSpec, q: Tensor, k: Tensor | None, v: Tensor | None) -> Tensor:
        tokens, queries = q.shape[1], layer.heads * layer.head_dim
        q = q.reshape(1, tokens, queries)
        if k is not None and v is not None:
            past = self.pasts[layer.index]
            width = layer.kv_heads * layer.head_dim
            k, v = k.reshape(1, tokens, width), v.reshape(1, tokens, width)
        else:
            # The source layer's cache already holds this call's keys: nothing is appended to it.
            past = self.presents[layer.kv_source]
            k = v = self._no_tokens(layer)
        operands = (q, k, v, *past, self.last_key, self.total, *self._cos_sin(layer))
        attributes = {
            "do_rotary": 1,
            "kv_num_heads": layer.kv_heads,
            "local_window_size": -1 if layer.window is None else layer.window,
            "num_heads": layer.heads,
            "rotary_interleaved": 0,
            "scale": float(self.spec.query_scale),
            "softcap": float(self.spec.attention_softcap or 0.0),
        }
        shapes: list[tuple[int, ...]] = [(1, tokens, queries)]
        if layer.owns_cache:
            shapes += [(1, layer.kv_heads, EXAMPLE[TOTAL], layer.head_dim)] * 2
        attended, *present = self.graph.ops(
            f"{CONTRIB}::GroupQueryAttention",
            operands,
            shapes,
            attributes,
            name=f"{layer.prefix}self_attn.attention",
        )
        if layer.owns_cache:
            self.presents[layer.index] = present[0], present[1]
        return attended

    def gelu(self, x: Tensor) -> Tensor:
        return self.graph.op("Gelu", (x,), x.shape, {"approximate": "tanh"})

    def softcap(self, x: Tensor, cap: float) -> Tensor:
        return torch.tanh(x / cap) * cap

    def vector(self, name: str) -> Tensor:
        (shape,) = (weight.shape for weight in self.spec.weights() if weight.name == name)
        return self.graph.weight(DataTensor(name, "float32", shape, Gain(name, 1.0)))

    def wanted_positions(self, x: Tensor) -> Tensor:
        if self.all_logits:
            return x
        bounds = [self.graph.constant(np.array([n], np.int64)) for n in (-1, np.iinfo(np.int64).max, 1)]
        return self.graph.op("Slice", (x, *bounds), (1, 1, x.shape[-1]), name="last_position")

    def _matmul(self, x: Tensor, matrices: tuple[Matrix, ...]) -> Tensor:
        """x [1, tokens, in] through matrices of one scheme, one below the other: [1, tokens, out]."""
        name = _joined([matrix.name for matrix in matrices])
        tokens, inputs = x.shape[1], x.shape[2]
        rows = sum(matrix.shape[0] for matrix in matrices)
        if isinstance(matrices[0].scheme, FloatScheme):
            weight = self._as_float32(self._floats(matrices))
            flat = self._reshape(x, (-1, inputs), (tokens, inputs))
            y = self.graph.op("Gemm", (flat, weight), (tokens, rows), {"transB": 1}, name=_stem(name))
            return self._reshape(y, (1, -1, rows), (1, tokens, rows))
        integers = tuple(matrix for matrix in matrices if isinstance(matrix, IntegerMatrix))
        block, bits = block_size(integers[0]), integers[0].scheme.bits
        codes = DataTensor(
            f"{name}.codes",
            "uint8",
            (rows, inputs // block, block * bits // 8),
            CodeBytes(tuple(matrix.name for matrix in integers)),
        )
        attributes = {
            "K": inputs,
            "N": rows,
            "accuracy_level": ACCURACY_LEVEL,
            "bits": bits,
            "block_size": block,
        }
        parts = x if bits < SPLIT_FROM_BITS else self._coarse_and_rest(x, block)
        operands = (parts, self.graph.weight(codes), *self._scales_and_zeros(integers, block))
        shape = (*parts.shape[:-1], rows)
        y = self.graph.op(f"{CONTRIB}::MatMulNBits", operands, shape, attributes, name=_stem(name))
        if bits < SPLIT_FROM_BITS:
            return y
        axes = self.graph.constant(np.array([0], np.int64))
        return self.graph.op("ReduceSum", (y, axes), (1, tokens, rows), {"keepdims": 1})

    def _coarse_and_rest(self, x: Tensor, block: int) -> Tensor:
        """[1, tokens, in] to [2, tokens, in], which sum to x: as MatMulNBits rounds it, and the rest.

        The kernel rounds each part to int8 per block, symmetrically, by its largest magnitude: the
        coarse part passes unchanged, the rest keeps 7 bits more. Exact for kernels that do not round.
        """
        graph = self.graph
        blocks = x.reshape(1, x.shape[1], x.shape[2] // block, block)
        size = graph.op("Abs", (blocks,), blocks.shape)
        axes = graph.constant(np.array([3], np.int64))
        largest = graph.op("ReduceMax", (size, axes), (*blocks.shape[:3], 1), {"keepdims": 1})
        step = largest * (1.0 / 127) + TINY
        codes = graph.op("Round", (blocks / step,), blocks.shape)
        coarse = (codes * step).reshape(*x.shape)
        return graph.op("Concat", (coarse, x - coarse), (2, *x.shape[1:]), {"axis": 0})

    def _reshape(self, x: Tensor, target: tuple[int, ...], shape: tuple[int, ...]) -> Tensor:
        """A reshape that stays right when the float twin asks for more positions than the last one."""
        return self.graph.op("Reshape", (x, self.graph.constant(np.array(target, np.int64))), shape)

    def _floats(self, matrices: tuple[Matrix, ...]) -> Tensor:
        names = tuple(matrix.name for matrix in matrices)
        rows, inputs = sum(matrix.shape[0] for matrix in matrices), matrices[0].shape[1]
        dtype = f"float{matrices[0].scheme.bits}"
        return self.graph.weight(DataTensor(_joined(names), dtype, (rows, inputs), FloatBytes(names)))

    def _as_float32(self, x: Tensor) -> Tensor:
        return x if x.dtype == torch.float32 else self.graph.op("Cast", (x,), x.shape, {"to": FLOAT})

    def _scales_and_zeros(self, matrices: tuple[IntegerMatrix, ...], block: int) -> tuple[Tensor, Tensor]:
        names = tuple(matrix.name for matrix in matrices)
        rows, blocks = sum(matrix.shape[0] for matrix in matrices), matrices[0].shape[1] // block
        bits = matrices[0].scheme.bits
        scales = DataTensor(f"{_joined(names)}.scales", "float32", (rows, blocks), ScaleBytes(names, block))
        zeros = DataTensor(
            f"zeros.{bits}bit.{rows}x{blocks}",
            "uint8",
            (rows, -(-blocks * bits // 8)),
            ZeroPointBytes(rows, blocks, bits),
        )
        return self.graph.weight(scales), self.graph.weight(zeros)

    def _no_tokens(self, layer: LayerSpec) -> Tensor:
        return self.graph.constant(np.zeros((1, 0, layer.kv_heads * layer.head_dim), np.float32))

    def _cos_sin(self, layer: LayerSpec) -> tuple[Tensor, Tensor]:
        rope, half = layer.rope, layer.head_dim // 2
        label = f"theta{rope.theta:g}_factor{rope.linear_factor:g}_rotated{rope.rotated:g}_{layer.head_dim}"
        cos, sin = (
            DataTensor(
                f"rope.{label}.{function}",
                "float32",
                (self.context, half),
                RopeTable(rope, layer.head_dim, self.context, function),
            )
            for function in ("cos", "sin")
        )
        return self.graph.weight(cos), self.graph.weight(sin)


def _stem(name: str) -> str:
    return name.removesuffix(".weight")


def _joined(names: Sequence[str]) -> str:
    """One name for an input's matrices: "a.q_proj.weight", "a.k_proj.weight": "a.q_proj+k_proj.weight"."""
    if len(names) == 1:
        return names[0]
    parts = [_stem(name).rpartition(".") for name in names]
    if len({part[0] for part in parts}) > 1:
        raise LoweringError(names[0], f"shares an input with {names[1]} of another module", "export again")
    return f"{parts[0][0]}.{'+'.join(part[2] for part in parts)}.weight"
