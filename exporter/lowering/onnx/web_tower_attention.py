"""`attend_by_head`: an image tower's attention by operators that every build of ONNX Runtime for browsers
computes right.

MultiHeadAttention is not one: on WebGPU it masks no keys, and where subgroups are narrower than 8 its rows
are wrong (docs/adr/0020). One head is computed after the other: the scores of all of them at once would be
a GB for 4,096 patches. It is a function the graph brings along, one operator a layer for whoever reads the
file. Not about text (`web_attention`).
"""

from __future__ import annotations

from onnx import parser
from torch import Tensor

from exporter.lowering.onnx.graph_builder import OPSETS, GraphBuilder

DOMAIN = "gemma_export"
JOINED = 4  # heads at once: an adapter binds few buffers to a shader

_HEADER = f'<opset_import: ["" : {OPSETS[""]}], domain: "{DOMAIN}">'


def attend_by_head(graph: GraphBuilder, q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    """Of q, k and v [1, patches, heads, head_dim]: [1, patches, heads * head_dim]."""
    _, patches, heads, head_dim = q.shape
    kind = graph.function(parser.parse_function(_attend(heads)))
    return graph.op(kind, (q, k, v), (1, patches, heads * head_dim), {"scale": scale})


def _attend(heads: int) -> str:
    by_head = "\n".join(_head(number) for number in range(heads))
    names = [f"found_{number}" for number in range(heads)]
    parts = [names[start : start + JOINED] for start in range(0, heads, JOINED)]
    joined = "\n".join(
        f"   part_{number} = Concat <axis = 1> ({', '.join(part)})" for number, part in enumerate(parts)
    )
    return f"""{_HEADER}
AttendBy{heads}Heads <scale> (q, k, v) => (y)
{{
   queries = Transpose <perm = [0, 2, 1, 3]> (q)
   keys = Transpose <perm = [0, 2, 3, 1]> (k)
   values = Transpose <perm = [0, 2, 1, 3]> (v)
   factor = Constant <value_float: float = @scale> ()
   heads = Constant <value_ints = [1]> ()
{by_head}
{joined}
   together = Concat <axis = 1> ({", ".join(f"part_{number}" for number in range(len(parts)))})
   by_patch = Transpose <perm = [0, 2, 1, 3]> (together)
   one_row = Constant <value_ints = [0, 0, -1]> ()
   y = Reshape (by_patch, one_row)
}}"""


def _head(number: int) -> str:
    return f"""   from_{number} = Constant <value_ints = [{number}]> ()
   to_{number} = Constant <value_ints = [{number + 1}]> ()
   q_{number} = Slice (queries, from_{number}, to_{number}, heads)
   k_{number} = Slice (keys, from_{number}, to_{number}, heads)
   v_{number} = Slice (values, from_{number}, to_{number}, heads)
   products_{number} = MatMul (q_{number}, k_{number})
   scores_{number} = Mul (products_{number}, factor)
   shares_{number} = Softmax <axis = -1> (scores_{number})
   found_{number} = MatMul (shares_{number}, v_{number})"""
