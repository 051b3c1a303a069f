"""GroupQueryAttention of one head: the operator alone, what it should give, and what ONNX Runtime's prefill
shader for WebGPU gives with its two defects (onnxruntime-webgpu 1.25 to 1.27).

  (1) the scores of a tile of keys are summed in variables declared inside the loop over tiles. WGSL zeroes
      these anew each time; in the SPIR-V that its compiler (Tint, part of the wheel) hands to drivers they
      are zeroed once, so a tile's scores begin with the weights of the tile before
  (2) a tile is as long as a subgroup, but at least 8 keys are computed: on subgroups of 4 the upper half
      has score 0 (and what was left), weighs in the sum, and has no value

Found by reading the SPIR-V a driver was given; `onnx_webgpu` compares this with what comes of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

SUBGROUPS = (8, 4)  # Mesa's llvmpipe, SwiftShader
COMPUTED, WIDTH, SCALE = 8, 64, 0.1
FAR = -1e38

Feeds = Mapping[str, NDArray[Any]]


def one_attention() -> onnx.ModelProto:
    """The operator alone, without RoPE or window, one head of `WIDTH`."""
    row, cache = [1, "tokens", WIDTH], [1, 1, "past", WIDTH]
    shapes = {"q": row, "k": row, "v": row, "past_k": cache, "past_v": cache}
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()
    ]
    inputs += [helper.make_tensor_value_info(name, TensorProto.INT32, [1]) for name in ("last", "total")]
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("y", row), ("keys", None), ("values", None))
    ]
    attributes = {"num_heads": 1, "kv_num_heads": 1, "scale": SCALE}
    node = helper.make_node(
        "GroupQueryAttention",
        [*shapes, "last", "total"],
        ["y", "keys", "values"],
        domain="com.microsoft",
        **attributes,
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    graph = helper.make_graph([node], "attention", inputs, outputs)
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def right(feeds: Feeds) -> NDArray[np.float64]:
    """Causal attention, [tokens, WIDTH]."""
    scores = _scores(feeds)
    scores[np.triu_indices(len(scores), 1)] = -np.inf
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    found: NDArray[np.float64] = weights / weights.sum(-1, keepdims=True) @ feeds["v"][0].astype(np.float64)
    return found


def shader(feeds: Feeds, subgroup: int) -> NDArray[np.float64]:
    """`right` with the defects, for a device with such subgroups."""
    scores, values = _scores(feeds), feeds["v"][0].astype(np.float64)
    tokens = len(scores)
    found = np.zeros((tokens, WIDTH))
    for row in range(tokens):
        kept = np.zeros(COMPUTED)  # (1)
        peak, total = FAR, 0.0
        for start in range(0, tokens, subgroup):
            keys = np.arange(start, min(start + subgroup, tokens))
            kept[: len(keys)] += scores[row, keys]  # (2): the others stay what they were
            seen = start + np.arange(COMPUTED) <= row
            masked = np.where(seen, kept, FAR)
            higher = max(peak, masked.max())
            before = total * np.exp(peak - higher)
            kept = np.exp(masked - higher)
            total = before + kept.sum()
            kept = kept / total
            found[row] = found[row] * before / total + kept[: len(keys)] @ values[keys]
            peak = higher
    return found


def _scores(feeds: Feeds) -> NDArray[np.float64]:
    queries, keys = (feeds[name][0].astype(np.float64) for name in ("q", "k"))
    found: NDArray[np.float64] = SCALE * queries @ keys.T
    return found
