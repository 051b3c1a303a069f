"""What runs in the environment `onnx_webgpu` makes: `python onnx_webgpu_session.py DIRECTORY`.

DIRECTORY/order.json: {"graph", "tokens", "prefilled", "on_cpu"}. Leaves logits.npy, [tokens behind the
prefill and its last, vocab]. With feeds.npz beside it, the graph is run once on these, for its first
result, y.npy.
on_cpu: names of nodes that WebGPU is not given; null for a session without WebGPU. Needs numpy and
onnxruntime alone: nothing of this project is installed there.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

KEPT_FROM_WEBGPU = "ep.webgpuexecutionprovider.forceCpuNodeNames"  # one name a line
PAST, PRESENT = "past_key_values", "present"


def opened(graph: str, on_cpu: list[str] | None) -> Any:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    providers = ["CPUExecutionProvider"]
    if on_cpu is not None:
        providers.insert(0, "WebGpuExecutionProvider")
        if on_cpu:
            options.add_session_config_entry(KEPT_FROM_WEBGPU, "\n".join(on_cpu))
    return ort.InferenceSession(graph, options, providers=providers)


def last_logits(session: Any, tokens: list[int], prefilled: int) -> Any:
    inputs = {each.name: each for each in session.get_inputs()}
    names = [each.name for each in session.get_outputs()]
    caches = {
        name: np.zeros((1, each.shape[1], 0, each.shape[3]), np.float32)
        for name, each in inputs.items()
        if name.startswith(PAST)
    }
    rows, done = [], 0
    for part in (tokens[:prefilled], *([token] for token in tokens[prefilled:])):
        done += len(part)
        feeds = {**caches, "input_ids": np.array([part], np.int64)}
        feeds["attention_mask"] = np.ones((1, done), np.int64)
        found = dict(zip(names, session.run(None, feeds), strict=True))
        rows.append(found["logits"][0, -1])
        caches = {name: found[name.replace(PAST, PRESENT)] for name in caches}
    return np.stack(rows)


def main() -> None:
    directory = Path(sys.argv[1])
    order = json.loads((directory / "order.json").read_text(encoding="utf-8"))
    session = opened(order["graph"], order["on_cpu"])
    if (feeds := directory / "feeds.npz").exists():
        np.save(directory / "y.npy", session.run(None, dict(np.load(feeds)))[0])
    else:
        np.save(directory / "logits.npy", last_logits(session, order["tokens"], order["prefilled"]))


if __name__ == "__main__":
    main()
