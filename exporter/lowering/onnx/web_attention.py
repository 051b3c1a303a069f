"""`WebAttention`: attention by operators that every build of ONNX Runtime for browsers computes right.

GroupQueryAttention is not one: on WebGPU it leaves the soft cap out (Gemma 2 is off by 0.2 nats from the
first token), and its prefill is wrong where subgroups are narrower than 8; by WebAssembly it is NaN for
layers that share a cache (onnxruntime-web 1.31 dev). What it does takes a dozen plain operators:

    rotate      x cos + (second half, first half) (-sin, sin)
    append      the cache, and behind it the call's keys or values
    attend      softmax(scale q k + bias) v, scores capped before the bias where the model caps them
    bias        0 where a token sees a key; for each position it does not see, another -1e30

Positions are the mask's length, counted back. Caches grow with every call, as transformers.js wants them.
The operators are functions the graph brings along: one per purpose and layer for whoever reads the file.
"""

from __future__ import annotations

import numpy as np
import onnx
import torch
from onnx import parser
from torch import Tensor

from exporter.lowering.onnx.attention_operators import AttentionInputs, rope_label, rope_tables
from exporter.lowering.onnx.graph_builder import EXAMPLE, LENGTHS, OPSETS, TOTAL
from exporter.models.text.spec import LayerSpec

DOMAIN = "gemma_export"
ATTEND, SEE = "AttendOverCache", "SeenPositions"
FAR = 1e30  # times a context's length it is still an fp32 number

_HEADER = f'<opset_import: ["" : {OPSETS[""]}], domain: "{DOMAIN}">'
_ROTATE = f"""{_HEADER}
Rotate <halves> (x, cos, sin) => (y)
{{
   two_halves = Constant <value_ints: ints = @halves> ()
   first, second = Split <axis = -1> (x, two_halves)
   turned = Concat <axis = -1> (second, first)
   along = Mul (x, cos)
   across = Mul (turned, sin)
   y = Add (along, across)
}}"""
_TURN = f"""{_HEADER}
PositionsTurned (table_cos, table_sin, positions) => (cos, sin)
{{
   c = Gather <axis = 0> (table_cos, positions)
   s = Gather <axis = 0> (table_sin, positions)
   minus_s = Neg (s)
   cc = Concat <axis = -1> (c, c)
   ss = Concat <axis = -1> (minus_s, s)
   heads = Constant <value_ints = [1]> ()
   cos = Unsqueeze (cc, heads)
   sin = Unsqueeze (ss, heads)
}}"""
_APPEND = f"""{_HEADER}
AppendToCache (past, x) => (present)
{{
   by_head = Transpose <perm = [0, 2, 1, 3]> (x)
   present = Concat <axis = 2> (past, by_head)
}}"""
_FULL = f"""{_HEADER}
{SEE} <window> (queries, keys) => (bias)
{{
   back = Sub (queries, keys)
   ahead = Neg (back)
   not_yet = Relu (ahead)
   too_old = Constant <value_float: float = @window> ()
   beyond = Sub (back, too_old)
   no_more = Relu (beyond)
   unseen = Add (not_yet, no_more)
   far = Constant <value_float = {-FAR}> ()
   bias = Mul (unseen, far)
}}"""


def _attend(cap: str) -> str:
    return f"""{_HEADER}
{ATTEND} <scale, cap, by_kv_head, by_group, by_kv_head_again, by_head, flat> (q, keys, values, bias) => (y)
{{
   q_by_head = Transpose <perm = [0, 2, 1, 3]> (q)
   kv_heads = Constant <value_ints: ints = @by_kv_head> ()
   q_by_kv_head = Reshape (q_by_head, kv_heads)
   keys_across = Transpose <perm = [0, 1, 3, 2]> (keys)
   products = MatMul (q_by_kv_head, keys_across)
   factor = Constant <value_float: float = @scale> ()
   plain = Mul (products, factor){cap}
   groups = Constant <value_ints: ints = @by_group> ()
   grouped = Reshape (scores, groups)
   masked = Add (grouped, bias)
   shares = Softmax <axis = -1> (masked)
   again = Constant <value_ints: ints = @by_kv_head_again> ()
   shares_by_kv_head = Reshape (shares, again)
   sums = MatMul (shares_by_kv_head, values)
   heads = Constant <value_ints: ints = @by_head> ()
   sums_by_head = Reshape (sums, heads)
   by_token = Transpose <perm = [0, 2, 1, 3]> (sums_by_head)
   one_row = Constant <value_ints: ints = @flat> ()
   y = Reshape (by_token, one_row)
}}"""


_UNCAPPED = """
   scores = Identity (plain)"""
_CAPPED = """
   most = Constant <value_float: float = @cap> ()
   part = Div (plain, most)
   bounded = Tanh (part)
   scores = Mul (bounded, most)"""


class WebAttention:
    """Satisfies `AttentionOperators`."""

    def __init__(self, given: AttentionInputs) -> None:
        self._given = given
        self.presents: dict[int, tuple[Tensor, Tensor]] = {}
        self._positions, self._queries, self._keys = self._counted()
        self._biases: dict[int | None, Tensor] = {}
        self._turns: dict[str, tuple[Tensor, Tensor]] = {}

    def attend(self, layer: LayerSpec, q: Tensor, k: Tensor | None, v: Tensor | None) -> Tensor:
        name = f"{layer.prefix}self_attn"
        if k is not None and v is not None:
            k = self._rotated(layer, k, f"{name}.k_rotated")
            pasts = self._given.pasts[layer.index]
            keys, values = (
                self._call(_APPEND, (past, new), (*past.shape[:2], EXAMPLE[TOTAL], past.shape[3]), {}, to)
                for past, new, to in zip(pasts, (k, v), (f"{name}.keys", f"{name}.values"), strict=True)
            )
            self.presents[layer.index] = keys, values
        q = self._rotated(layer, q, f"{name}.q_rotated")
        tokens, heads, head_dim, kv_heads = q.shape[1], layer.heads, layer.head_dim, layer.kv_heads
        cap = self._given.spec.attention_softcap
        attributes: dict[str, float | tuple[int, ...]] = {
            "scale": float(self._given.spec.query_scale),
            "cap": float(cap or 0.0),
            "by_kv_head": (1, kv_heads, -1, head_dim),
            "by_group": (kv_heads, heads // kv_heads, -1, 0),  # 0: as long as before
            "by_kv_head_again": (1, kv_heads, -1, 0),
            "by_head": (1, heads, -1, head_dim),
            "flat": (1, -1, heads * head_dim),
        }
        return self._call(
            _attend(_UNCAPPED if cap is None else _CAPPED),
            (q, *self.presents[layer.kv_source], self._bias_of(layer)),
            (1, tokens, heads * head_dim),
            attributes,
            f"{name}.attention",
        )

    def _counted(self) -> tuple[Tensor, Tensor, Tensor]:
        """Positions of the call's tokens, int64 [tokens]; the same as fp32 [tokens, 1]; of every key, fp32
        [past + tokens]."""
        graph, given = self._given.graph, self._given
        zero, one = (graph.constant(np.array(n, np.int64)) for n in (0, 1))
        total, count = (
            graph.op(
                "Squeeze",
                (graph.op("Shape", (value,), (1,), span, name=f"{LENGTHS}{what}_1d", dtype=torch.int64),),
                (),
                name=f"{LENGTHS}{what}",
                dtype=torch.int64,
            )
            for value, what, span in (
                (given.mask, "total", {"start": 1, "end": 2}),
                (given.tokens, "tokens", {"start": 1, "end": 2}),
            )
        )
        start = graph.op("Sub", (total, count), (), name=f"{LENGTHS}past", dtype=torch.int64)
        tokens = given.tokens.shape[1]
        positions, every = (
            graph.op("Range", (first, total, one), (size,), name=f"{LENGTHS}{what}", dtype=torch.int64)
            for first, size, what in ((start, tokens, "positions"), (zero, EXAMPLE[TOTAL], "keys"))
        )
        queries, keys = (
            graph.op("Cast", (value,), tuple(value.shape), {"to": 1}, name=f"{LENGTHS}{what}_fp32")
            for value, what in ((positions, "positions"), (every, "keys"))
        )
        last = graph.constant(np.array([1], np.int64))
        column = graph.op("Unsqueeze", (queries, last), (tokens, 1), name=f"{LENGTHS}column")
        return positions, column, keys

    def _bias_of(self, layer: LayerSpec) -> Tensor:
        blocks = self._given.blocks
        if blocks is not None and blocks.opens(layer):
            return blocks.bias(layer.window)
        return self._bias(layer.window)

    def _bias(self, window: int | None) -> Tensor:
        """[tokens, past + tokens], 0 where a token sees a key."""
        if window not in self._biases:
            seen = self._given.context if window is None else window
            shape = (self._queries.shape[0], EXAMPLE[TOTAL])
            name = f"seen.{'all' if window is None else window}"
            attributes = {"window": float(seen - 1)}
            self._biases[window] = self._call(_FULL, (self._queries, self._keys), shape, attributes, name)
        return self._biases[window]

    def _rotated(self, layer: LayerSpec, x: Tensor, name: str) -> Tensor:
        if (label := rope_label(layer)) not in self._turns:
            tables = rope_tables(self._given.graph, layer, self._given.context)
            graph, shape = self._given.graph, (self._positions.shape[0], 1, layer.head_dim)
            kind = graph.function(_function(_TURN))
            cos, sin = graph.ops(kind, (*tables, self._positions), [shape, shape], name=f"turn.{label}")
            self._turns[label] = cos, sin
        halves: dict[str, float | tuple[int, ...]] = {"halves": (layer.head_dim // 2,) * 2}
        return self._call(_ROTATE, (x, *self._turns[label]), tuple(x.shape), halves, name)

    def _call(
        self,
        text: str,
        operands: tuple[Tensor, ...],
        shape: tuple[int, ...],
        attributes: dict[str, float | tuple[int, ...]] | dict[str, float],
        name: str,
    ) -> Tensor:
        graph = self._given.graph
        return graph.op(graph.function(_function(text)), operands, shape, {**attributes}, name=name)


def _function(text: str) -> onnx.FunctionProto:
    return parser.parse_function(text)
