"""Tidying the traced graph: fewer operators per token, nothing that depends on this machine.

Steps of `clean_up`:
  (1) a reshape whose result has one unknown side gets a constant target, and one that undoes another
      goes: traced, each computes its target from the number of tokens, five operators a reshape
  (2) constant folding, removal of what nothing uses
  (3) traces of the exporter go: stack traces with paths, inferred shapes, documentation
Not about what the graph computes: that does not change.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnxscript.optimizer import optimize_ir

PRODUCER = "gemma-export"


def clean_up(model: ir.Model) -> None:
    """Tidy `model` in place. Run before weights are bound, so that none can be folded."""
    # (1)
    for node in list(model.graph):
        if node.op_type == "Reshape" and not node.domain:
            _settle_reshape(model.graph, node)
    # (2)
    optimize_ir(model)
    # (3)
    _forget_origin(model)


def _settle_reshape(graph: ir.Graph, node: ir.Node) -> None:
    source, result = node.inputs[0], node.outputs[0]
    assert source is not None
    if result.shape is None:
        return  # of a size, not of an activation
    origin = source.producer()
    if origin is not None and origin.op_type == "Reshape" and not origin.domain:
        first = origin.inputs[0]
        if first is not None and first.shape is not None and first.shape == result.shape:
            result.replace_all_uses_with(first)
            return
    target = [side if isinstance(side, int) else -1 for side in result.shape]
    if target.count(-1) > 1:
        return
    shape = ir.Value(name=f"{result.name}.shape", const_value=ir.Tensor(np.array(target, np.int64)))
    constant = ir.Node(
        "", "Constant", [], [ir.AttrTensor("value", shape.const_value)], outputs=[shape]
    )
    graph.insert_before(node, constant)
    node.replace_input_with(1, shape)


def _forget_origin(model: ir.Model) -> None:
    model.producer_name, model.producer_version = PRODUCER, None
    model.domain = model.doc_string = None
    model.metadata_props.clear()
    graph = model.graph
    graph.name, graph.doc_string = "decoder", None
    graph.metadata_props.clear()
    kept = {id(value) for value in (*graph.inputs, *graph.outputs, *graph.initializers.values())}
    for value in (*graph.inputs, *graph.outputs):
        value.metadata_props.clear()
    for node in graph:
        node.metadata_props.clear()
        node.doc_string = None
        for value in node.outputs:
            value.metadata_props.clear()
            if id(value) not in kept:
                # ONNX Runtime infers shapes itself; the tracer's symbols would only pin names.
                value.shape = value.type = None
