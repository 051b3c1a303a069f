"""What enters each layer of a written ONNX graph: its float twin's body with more to return.

The states that the norms read are joined along their width and returned in the place of the last one, so
that the artifact's own driver runs it. Not about making the twin (`float_twin`).
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from exporter.errors import LoweringError
from exporter.lowering.hidden_states import HiddenStates, HiddenStatesOrder, Seen, calls_of
from exporter.lowering.onnx.artifact_file import consumers_of
from exporter.lowering.onnx.twin_run import LOGITS, OnnxTwin
from runtimes.onnx.session import OnnxSession

WATCHED_NAME, WAS_LOGITS = "watched.onnx", "final_hidden_state"


def onnx_hidden_states(twin: OnnxTwin, order: HiddenStatesOrder, into: HiddenStates) -> Seen:
    """As `ShowsHiddenStates` has it, of a twin."""
    body = onnx.load(str(twin.body), load_external_data=False)
    read = {number: _read_by(body, name) for number, name in enumerate(order.norms)}
    seen = {number: value for number, value in read.items() if value is not None}
    if not seen:
        raise LoweringError(twin.body, "no norm reads the residual stream", "export again")
    _return_instead(body, list(seen.values()), len(seen) * order.spec.hidden_size)
    path = twin.body.with_name(WATCHED_NAME)
    onnx.save(body, str(path))
    with OnnxSession(path, vocab_size=twin.vocab_size) as session:
        for segment, at, given in calls_of(order.segments, order.tokens, session.facts.prefill_chunk):
            rows = session.prefill(given) if segment.call == "prefill" else session.decode(int(given[0]))
            states = rows.reshape(len(given), len(seen), -1)
            into[list(seen), at : at + len(given)] = states.swapaxes(0, 1)
    found = np.zeros(into.shape[:2], np.bool_)
    found[list(seen)] = True
    return found


def _read_by(model: onnx.ModelProto, gain: str) -> str | None:
    """The value that the norm of this gain reads, None where there is none."""
    norm = next(iter(consumers_of(model, gain)), None)
    return None if norm is None else str(norm.input[0])


def _return_instead(model: onnx.ModelProto, values: list[str], width: int) -> None:
    """Put the values, one beside the other, in the place of the hidden state that is returned."""
    graph = model.graph
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [WAS_LOGITS if name == LOGITS else name for name in names]
    graph.node.append(helper.make_node("Concat", values, [LOGITS], name="hidden_states", axis=-1))
    for output in graph.output:
        if output.name == LOGITS:
            output.type.tensor_type.shape.dim[2].dim_value = width
