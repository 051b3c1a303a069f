"""`OnnxDialect`: the decoder's operations as ONNX Runtime's kernels want them.

Standard operators where they exist with good kernels (RMSNormalization, Gelu, Gemm, Gather), contrib
ones for attention over a cache (GroupQueryAttention) and for integer weights (MatMulNBits,
GatherBlockQuantized). It runs on fake tensors only: nothing here computes, and weights are
`StoredTensor`s that the caller resolves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from exporter.errors import LoweringError
from exporter.lowering.onnx.stored_tensors import (
    Codes,
    Floats,
    Ones,
    RopeTable,
    Scales,
    StoredTensor,
    Vector,
    ZeroPoints,
    block_size,
)
from exporter.models.spec import LayerSpec, ModelSpec
from exporter.planning.scheme import FloatScheme
from exporter.quantization.checkpoint import FloatMatrix, IntegerMatrix, Matrix

CONTRIB = "com.microsoft::"
# 4: activations are rounded to int8 per block. With 0 or 1 (fp32) an 8-bit matrix is dequantised
# whole on every call, 30 to 100 times slower per decoded token (ONNX Runtime 1.32).
ACCURACY_LEVEL = 4
# An int8 activation costs as much quality as an int8 weight (270M: mean KL 0.009 beside 0.006), so
# 8-bit matrices get it in two parts, which a decoding kernel reads the weights for once. Beside what
# 4-bit weights cost it is nothing.
SPLIT_FROM_BITS = 8
TINY = 1e-30  # keeps the step of a block of zeros above 0


@dataclass
class OnnxDialect:
    """Satisfies `Dialect` for one trace.

    context: positions of the RoPE tables. all_logits: logits for every position, or the last one.
    pasts: layer index to (keys, values) [1, kv_heads, past, head_dim]; `presents` collects the same
    after the call. last_key: int32 [1], positions in the cache after the call, minus one.
    total: int32 [1], positions in the cache after the call; total_length is the same as a size.
    resolve: gives the fake tensor that stands for a stored one.
    """

    spec: ModelSpec
    matrices: Mapping[str, Matrix]
    context: int
    all_logits: bool
    pasts: Mapping[int, tuple[Tensor, Tensor]]
    last_key: Tensor
    total: Tensor
    total_length: int | torch.SymInt
    resolve: Callable[[StoredTensor], Tensor]
    presents: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    residual_scale: float = 1.0

    def embed(self, tokens: Tensor, weight: str) -> Tensor:
        matrix = self.matrices[weight]
        width = matrix.shape[1]
        shape = (*tokens.shape, width)
        if isinstance(matrix, FloatMatrix):
            table = self._floats((matrix,))
            return _op("Gather", (table, tokens), {"axis": 0}, table.dtype, shape).float()
        block, bits = block_size(matrix), matrix.scheme.bits
        codes = StoredTensor(
            f"{weight}.rows", "uint8", (matrix.shape[0], width * bits // 8), Codes((weight,))
        )
        inputs = (self.resolve(codes), tokens, *self._scales_and_zeros((matrix,), block))
        attributes = {"bits": bits, "block_size": block, "gather_axis": 0, "quantize_axis": 1}
        return _op(f"{CONTRIB}GatherBlockQuantized", inputs, attributes, torch.float32, shape)

    def project(self, x: Tensor, weights: Sequence[str]) -> Sequence[Tensor]:
        matrices = [self.matrices[name] for name in weights]
        if len({matrix.scheme for matrix in matrices}) > 1:
            return [self._matmul(x, (matrix,)) for matrix in matrices]
        y = self._matmul(x, tuple(matrices))
        return [y] if len(matrices) == 1 else y.split([matrix.shape[0] for matrix in matrices], dim=-1)

    def norm(self, x: Tensor, gain: str | None, eps: float, scale: float = 1.0) -> Tensor:
        width = x.shape[-1]
        if gain is None:
            stored = StoredTensor(f"ones.{width}", "float32", (width,), Ones(width))
        else:
            stored = StoredTensor(gain, "float32", (width,), Vector(gain, scale))
        attributes = {"axis": -1, "epsilon": eps, "stash_type": 1}
        return _op("RMSNormalization", (x, self.resolve(stored)), attributes, x.dtype, x.shape)

    def attend(self, layer: LayerSpec, q: Tensor, k: Tensor | None, v: Tensor | None) -> Tensor:
        tokens, queries = q.shape[1], layer.heads * layer.head_dim
        q = q.reshape(1, tokens, queries)
        shape = (1, layer.kv_heads, self.total_length, layer.head_dim)
        if k is not None and v is not None:
            past = self.pasts[layer.index]
            k = k.reshape(1, tokens, -1)
            v = v.reshape(1, tokens, -1)
        else:
            # The source layer's cache already holds this call's keys: nothing is appended to it.
            past = self.presents[layer.kv_source]
            k = v = q[:, :0, : layer.kv_heads * layer.head_dim]
        inputs = (q, k, v, *past, self.last_key, self.total, *self._cos_sin(layer))
        attributes = {
            "do_rotary": 1,
            "kv_num_heads": layer.kv_heads,
            "local_window_size": -1 if layer.window is None else layer.window,
            "num_heads": layer.heads,
            "rotary_interleaved": 0,
            "scale": float(self.spec.query_scale),
            "softcap": float(self.spec.attention_softcap or 0.0),
        }
        if not layer.owns_cache:
            name = f"{CONTRIB}GroupQueryAttention"
            return _op(name, inputs, attributes, q.dtype, (1, tokens, queries))
        attended, keys, values = torch.onnx.ops.symbolic_multi_out(
            f"{CONTRIB}GroupQueryAttention",
            inputs,
            attributes,
            dtypes=(q.dtype,) * 3,
            shapes=((1, tokens, queries), shape, shape),
            version=1,
        )
        self.presents[layer.index] = keys, values
        return attended

    def gelu(self, x: Tensor) -> Tensor:
        return _op("Gelu", (x,), {"approximate": "tanh"}, x.dtype, x.shape)

    def softcap(self, x: Tensor, cap: float) -> Tensor:
        return torch.tanh(x / cap) * cap

    def scalar(self, name: str) -> Tensor:
        return self.resolve(StoredTensor(name, "float32", (1,), Vector(name, 1.0)))

    def wanted_positions(self, x: Tensor) -> Tensor:
        return x if self.all_logits else x[:, -1:]

    def _matmul(self, x: Tensor, matrices: tuple[Matrix, ...]) -> Tensor:
        """x [1, tokens, in] through matrices of one scheme, one below the other."""
        inputs, rows = x.shape[-1], sum(matrix.shape[0] for matrix in matrices)
        first = matrices[0]
        if isinstance(first.scheme, FloatScheme):
            weight = self._floats(matrices).float()
            y = _op("Gemm", (x[0], weight), {"transB": 1}, x.dtype, (x.shape[1], rows))
            return y[None]
        integers = tuple(matrix for matrix in matrices if isinstance(matrix, IntegerMatrix))
        block, bits = block_size(integers[0]), first.scheme.bits
        names = tuple(matrix.name for matrix in integers)
        codes = StoredTensor(
            f"{_joined(names)}.codes", "uint8", (rows, inputs // block, block * bits // 8), Codes(names)
        )
        attributes = {
            "K": inputs,
            "N": rows,
            "accuracy_level": ACCURACY_LEVEL,
            "bits": bits,
            "block_size": block,
        }
        operands = (self.resolve(codes), *self._scales_and_zeros(integers, block))
        if bits < SPLIT_FROM_BITS:
            shape: tuple[int | torch.SymInt, ...] = (1, x.shape[1], rows)
            return _op(f"{CONTRIB}MatMulNBits", (x, *operands), attributes, x.dtype, shape)
        parts = _coarse_and_rest(x, block)
        shape = (2, x.shape[1], rows)
        y = _op(f"{CONTRIB}MatMulNBits", (parts, *operands), attributes, x.dtype, shape)
        return y.sum(dim=0, keepdim=True)

    def _floats(self, matrices: tuple[Matrix, ...]) -> Tensor:
        names = tuple(matrix.name for matrix in matrices)
        rows, inputs = sum(matrix.shape[0] for matrix in matrices), matrices[0].shape[1]
        dtype = f"float{matrices[0].scheme.bits}"
        return self.resolve(StoredTensor(_joined(names), dtype, (rows, inputs), Floats(names)))

    def _scales_and_zeros(self, matrices: tuple[IntegerMatrix, ...], block: int) -> tuple[Tensor, Tensor]:
        names = tuple(matrix.name for matrix in matrices)
        rows, blocks = sum(matrix.shape[0] for matrix in matrices), matrices[0].shape[1] // block
        bits = matrices[0].scheme.bits
        scales = StoredTensor(f"{_joined(names)}.scales", "float32", (rows, blocks), Scales(names, block))
        zeros = StoredTensor(
            f"zeros.{bits}bit.{rows}x{blocks}",
            "uint8",
            (rows, -(-blocks * bits // 8)),
            ZeroPoints(rows, blocks, bits),
        )
        return self.resolve(scales), self.resolve(zeros)

    def _cos_sin(self, layer: LayerSpec) -> tuple[Tensor, Tensor]:
        rope, half = layer.rope, layer.head_dim // 2
        label = f"theta{rope.theta:g}_factor{rope.linear_factor:g}_rotated{rope.rotated:g}_{layer.head_dim}"
        cos, sin = (
            StoredTensor(
                f"rope.{label}.{function}",
                "float32",
                (self.context, half),
                RopeTable(rope, layer.head_dim, self.context, function),
            )
            for function in ("cos", "sin")
        )
        return self.resolve(cos), self.resolve(sin)


def _coarse_and_rest(x: Tensor, block: int) -> Tensor:
    """[1, tokens, in] to [2, tokens, in], which sum to x: as MatMulNBits rounds it, and what that drops.

    The kernel rounds each part to int8 per block, symmetrically, by its largest magnitude: the coarse
    part passes unchanged, the rest keeps 7 bits more. Exact for kernels that do not round at all.
    """
    blocks = x.reshape(1, x.shape[1], -1, block)
    step = blocks.abs().amax(dim=-1, keepdim=True) * (1.0 / 127) + TINY
    coarse = (torch.round(blocks / step) * step).reshape(x.shape)
    return torch.cat([coarse, x - coarse])


def _joined(names: tuple[str, ...]) -> str:
    """One name for matrices of one input: "a.q_proj.weight", "a.k_proj.weight" to "a.q_proj+k_proj.weight"."""
    if len(names) == 1:
        return names[0]
    stems = [name.removesuffix(".weight").rpartition(".") for name in names]
    if len({stem[0] for stem in stems}) > 1:
        raise LoweringError(names[0], f"shares an input with {names[1]} of another module", "export again")
    return f"{stems[0][0]}.{'+'.join(stem[2] for stem in stems)}.weight"


def _op(
    name: str,
    inputs: Sequence[Tensor],
    attributes: dict[str, Any],
    dtype: torch.dtype,
    shape: Sequence[int | torch.SymInt],
) -> Tensor:
    """One ONNX operator with one output."""
    version = 1 if name.startswith(CONTRIB) else None
    return torch.onnx.ops.symbolic(name, inputs, attributes, dtype=dtype, shape=shape, version=version)
