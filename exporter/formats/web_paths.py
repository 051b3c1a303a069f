"""Execution paths of a release for the web: transformers.js in Node, and in a browser in two ways.

Each is held against the artifact's own logits on this machine's CPU: all three compute in fp32 what the
graph says. The browser's adapter is SwiftShader, on every machine: a processor that computes what a GPU
would. Not about executing (`runtimes.onnx.transformers_js`).
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from exporter.formats.artifact_bytes import artifact_bytes
from exporter.formats.execution_path import ExecutionPath, PathAnswer, PathOrder
from exporter.resources import data_directory
from runtimes.errors import BeyondAdapter
from runtimes.onnx.transformers_js import Engine, EngineRun, missing_engine, take_tokens

PACKAGES_VARIABLE = "GEMMA_EXPORT_WEB"
# Measured on tiny models: 1e-13 to 3e-11, whatever computes. A KV cache off by a position is 1e-2.
MEAN_KL_LIMIT = 1e-6
# Weights SwiftShader computes with in minutes: some 2 MB take 3 s for each token.
MOST_FOR_SOFTWARE = 32 << 20  # bytes


def packages() -> Path:
    """Where package.json and node_modules are: the directory `PACKAGES_VARIABLE` names, else our own."""
    named = os.environ.get(PACKAGES_VARIABLE)
    return Path(named) if named else data_directory("tests/web")


def _run(engine: Engine, order: PathOrder) -> PathAnswer:
    if engine == "webgpu":
        _require_small(order)
    run = EngineRun(engine, order.directory, packages(), order.scratch, order.seconds)
    taken = take_tokens(run, order.tokens, order.prefilled)
    opened, first, later = taken.open_seconds, taken.first_token_seconds, taken.token_seconds
    return PathAnswer(
        logits=taken.logits,
        runtime="transformers.js",
        version=taken.version,
        device=taken.device,
        arithmetic="fp32",
        left_over=taken.left_over,
        remarks=(f"Opened in {opened:.1f} s, first token after {first:.1f} s, then {later:.2f} s each.",),
    )


def _require_small(order: PathOrder) -> None:
    """Raise BeyondAdapter for a model a software adapter would take hours for."""
    graph = order.directory / order.artifact.path
    size = artifact_bytes(graph)
    if size > MOST_FOR_SOFTWARE:
        raise BeyondAdapter(
            f"{order.artifact.path}: {size / 1e6:.0f} MB are more than SwiftShader computes with in "
            f"reasonable time ({MOST_FOR_SOFTWARE / 1e6:.0f} MB); open it in a browser with a GPU"
        )


def _path(engine: Engine, title: str, seconds: float, says_nothing_of: str) -> ExecutionPath:
    return ExecutionPath(
        name=f"onnx-web-{engine}",
        title=title,
        missing=lambda: missing_engine(engine, packages()),
        run=partial(_run, engine),
        reference="CPU",
        mean_kl_limit=MEAN_KL_LIMIT,
        seconds=seconds,
        says_nothing_of=says_nothing_of,
        formats=frozenset({"onnx-web"}),
    )


WEB_PATHS = (
    _path("node", "transformers.js in Node", 900, "no browser took part"),
    _path("wasm", "transformers.js in Chromium by WebAssembly", 1800, "no other browser took part"),
    _path("webgpu", "transformers.js in Chromium on WebGPU", 1800, "no GPU took part"),
)
