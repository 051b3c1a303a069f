"""A tower's graph, run for each of the pictures it is given: clients give all of a prompt at once.

One picture is computed at a time, so that many take no more memory than one. What leaves may be of one
length for every picture, and is returned picture by picture (Scan); or of a length of its own, and is
returned one below the other (Loop). Not about what is computed (`vision_trace`).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import helper
from torch import Tensor

from exporter.lowering.onnx.graph_builder import ELEMENT_TYPES, IMAGES, SOFT_TOKENS, GraphBuilder, Sides


def picture_by_picture(graph: GraphBuilder, one: Tensor, given: str, rows: Tensor, name: str) -> None:
    """given: the graph's input, of whose pictures `one` is an inner value. rows [rows, width] of it become
    the output `name`, [pictures, rows, width]."""
    inner = [_info(graph.name_of(value), value, tuple(value.shape)) for value in (one, rows)]
    body = helper.make_graph(graph.nodes, "each", inner[:1], inner[1:])
    graph.nodes = [helper.make_node("Scan", [given], [name], name="pictures", body=body, num_scan_inputs=1)]
    graph.inputs.append(_info(given, one, (IMAGES, *one.shape)))
    graph.outputs.append(_info(name, rows, (IMAGES, *rows.shape)))


def one_below_the_other(
    graph: GraphBuilder, ones: Mapping[str, tuple[Tensor, Sides]], rows: Tensor, name: str
) -> None:
    """ones: by input of the graph, an inner value that is one picture's part of it, and its sides. rows
    [any number, width] of it become part of the output `name`, [all, width]."""
    width = rows.shape[1]
    number, goes_on, so_far = "picture", "goes_on", "rows_so_far"
    body = helper.make_graph(
        [
            *(
                helper.make_node("Gather", [given, number], [graph.name_of(one)], name=f"one.{given}")
                for given, (one, _) in ones.items()
            ),
            *graph.nodes,
            helper.make_node("Concat", [so_far, graph.name_of(rows)], ["rows_now"], name="joined", axis=0),
            helper.make_node("Identity", [goes_on], ["goes_on_still"], name="on"),
        ],
        "each",
        [
            helper.make_tensor_value_info(number, onnx.TensorProto.INT64, []),
            helper.make_tensor_value_info(goes_on, onnx.TensorProto.BOOL, []),
            _info(so_far, rows, (SOFT_TOKENS, width)),
        ],
        [
            helper.make_tensor_value_info("goes_on_still", onnx.TensorProto.BOOL, []),
            _info("rows_now", rows, (SOFT_TOKENS, width)),
        ],
    )
    nothing = graph.name_of(graph.constant(np.zeros((0, width), np.float32)))
    first = next(iter(ones))
    graph.nodes = [
        helper.make_node("Shape", [first], ["pictures"], name="lengths.pictures", start=0, end=1),
        helper.make_node("Loop", ["pictures", "", nothing], [name], name="pictures_in_turn", body=body),
    ]
    for given, (one, sides) in ones.items():
        graph.inputs.append(_info(given, one, (IMAGES, *sides)))
    graph.outputs.append(_info(name, rows, (SOFT_TOKENS, width)))


def _info(name: str, value: Tensor, sides: Sides) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, ELEMENT_TYPES[value.dtype], sides)
