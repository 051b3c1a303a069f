"""Execution paths of a release for the web: transformers.js in Node, and in a browser in two ways.

Each is held against the artifact's own logits on this machine's CPU: all three compute in fp32 what the
graph says, of text, and of a picture and a sound that transformers.js prepares.
The browser's adapter is SwiftShader, on every machine: a processor that computes what a GPU
would. Not about executing (`runtimes.onnx.transformers_js`).
"""

from __future__ import annotations

import math
import os
from functools import partial
from pathlib import Path

from exporter.formats.artifact_bytes import artifact_bytes
from exporter.formats.execution_path import (
    Answered,
    Answering,
    AnsweringOrder,
    ExecutionPath,
    PathAnswer,
    PathOrder,
)
from exporter.resources import data_directory
from runtimes.errors import BeyondAdapter
from runtimes.onnx.transformers_js import Engine, EngineRun, missing_engine, take_tokens
from runtimes.onnx.transformers_js_samples import SampleToTell, tell_sample

PACKAGES_VARIABLE = "GEMMA_EXPORT_WEB"
# Measured on tiny models: 1e-13 to 3e-11, whatever computes. A KV cache off by a position is 1e-2.
MEAN_KL_LIMIT = 1e-6
# Weights SwiftShader computes with in minutes: some 2 MB take 3 s for each token.
MOST_FOR_SOFTWARE = 32 << 20  # bytes
# Rows of an encoder against the same file's on the CPU: tiny ones measure 0 in Node, 4e-7 in a browser.
ROWS_RELATIVE, ROWS_COSINE = 1e-3, 0.9999
# Multiplications of a picture. By WebAssembly E2B's tower takes minutes, a SigLIP five times as long.
MOST_WORK: dict[Engine, float] = {"node": math.inf, "wasm": 5e11, "webgpu": math.inf}


def packages() -> Path:
    """Where package.json and node_modules are: the directory `PACKAGES_VARIABLE` names, else our own."""
    named = os.environ.get(PACKAGES_VARIABLE)
    return Path(named) if named else data_directory("tests/web")


def _run(engine: Engine, order: PathOrder) -> PathAnswer:
    if engine == "webgpu":
        _require_small(order.directory, order.artifact.path)
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


def _answer(engine: Engine, order: AnsweringOrder) -> Answered:
    if engine == "webgpu":
        _require_small(order.directory, order.encoder.decoder, order.encoder.path)
    told = tell_sample(
        EngineRun(engine, order.directory, packages(), order.scratch, order.seconds),
        SampleToTell(order.kind, order.file, order.soft, order.prompt, order.answered),
    )
    return Answered(
        prepared=told.prepared,
        rows=told.rows,
        tokens=told.tokens,
        prompted=told.prompted,
        logits=told.logits,
        runtime="transformers.js",
        version=told.version,
        device=told.device,
        arithmetic="fp32",
        left_over=told.left_over,
    )


def _require_small(directory: Path, *graphs: str) -> None:
    """Raise BeyondAdapter for a model a software adapter would take hours for."""
    size = sum(artifact_bytes(directory / graph) for graph in graphs)
    if size > MOST_FOR_SOFTWARE:
        raise BeyondAdapter(
            f"{', '.join(graphs)}: {size / 1e6:.0f} MB are more than SwiftShader computes with in "
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
        answering=Answering(partial(_answer, engine), ROWS_RELATIVE, ROWS_COSINE, MOST_WORK[engine]),
    )


WEB_PATHS = (
    _path("node", "transformers.js in Node", 900, "no browser took part"),
    _path("wasm", "transformers.js in Chromium by WebAssembly", 1800, "no other browser took part"),
    _path("webgpu", "transformers.js in Chromium on WebGPU", 1800, "no GPU took part"),
)
