"""A release for the web, opened and executed by transformers.js: in Node, or in a headless Chromium.

Steps of `take_tokens`:
  (1) write an order for the script of the engine (runtimes/onnx/web), which opens the release as
      `pipeline("text-generation", …)` does and forces tokens on its generation
  (2) run Node on it in a process of its own; with a browser that ends when it does
  (3) read the logits, and what the script says of what computed them
Nothing is fetched: packages and WebAssembly come from the packages' directory. Not about pictures and
sounds (`transformers_js_samples`), nor what the logits are compared with.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from runtimes.errors import BeyondAdapter, ExecutionFailed, RuntimeUnavailable
from runtimes.own_process import run_in_own_process
from runtimes.session import Logits, Tokens
from runtimes.strict_json import read_json_object

Engine = Literal["node", "wasm", "webgpu"]
"""node: ONNX Runtime's own library in Node. wasm, webgpu: a browser's, by WebAssembly or on its adapter."""

SCRIPTS = Path(__file__).resolve().parent / "web"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OLDEST_NODE = 20
PIPELINE, DRIVER = "@huggingface/transformers", "puppeteer-core"

# Names of operators that count positions and find images (`exporter.lowering.onnx.graph_builder`): whole
# numbers, which ONNX Runtime computes on the processor everywhere.
LENGTHS = "lengths."
NO_FP16 = "The device (webgpu) does not support fp16"  # as transformers.js says it


@dataclass(frozen=True)
class EngineRun:
    """release: the directory with config.json. packages: directory of package.json and node_modules.
    scratch: existing directory for what the run writes. seconds: time limit of it all."""

    engine: Engine
    release: Path
    packages: Path
    scratch: Path
    seconds: float

    def says(self, facts: Mapping[str, Any]) -> str:
        """What computed, of what its script answered."""
        return (
            str(facts["device"]) if self.engine != "webgpu" else f"{facts['adapter']} in {facts['device']}"
        )

    def array(self, facts: Mapping[str, Any], name: str) -> NDArray[np.float32]:
        """What its script wrote of this name. Raises ExecutionFailed for what is not as it says."""
        path, shape = self.scratch / name, facts["shapes"].get(name)
        numbers = np.fromfile(path, "<f4") if path.is_file() else np.empty(0, np.float32)
        if shape is None or not len(numbers) or len(numbers) != math.prod(shape):
            raise ExecutionFailed(
                f"{self}: gave {len(numbers)} numbers of {name} for {shape}; export again"
            )
        return numbers.reshape(shape)

    def __str__(self) -> str:
        """In words, for errors."""
        place = "in Node" if self.engine == "node" else f"in Chromium by {self.engine}"
        return f"{self.release.name}: transformers.js {place}"


@dataclass(frozen=True)
class TokensTaken:
    """logits: of the tokens decode was given, [decoded, vocab]. version: of transformers.js. device: what
    computed. left_over: operators that an adapter did not take, beside those `LENGTHS` names; None where
    there is none to take them. open_seconds, first_token_seconds, token_seconds: as the script measured."""

    logits: Logits
    version: str
    device: str
    left_over: tuple[str, ...] | None
    open_seconds: float
    first_token_seconds: float
    token_seconds: float


def missing_engine(engine: Engine, packages: Path) -> str | None:
    """Why the engine cannot be used here and what to install; None where it can."""
    node = shutil.which("node")
    if node is None:
        return f"there is no node on the PATH; install Node.js {OLDEST_NODE} or later"
    if (version := _major_version(node)) is None or version < OLDEST_NODE:
        return f"{node} is not Node.js {OLDEST_NODE} or later; install that"
    needed = (PIPELINE,) if engine == "node" else (PIPELINE, DRIVER)
    for name in needed:
        if not (packages / "node_modules" / name / "package.json").is_file():
            return f"{name} is not there; run `npm ci --ignore-scripts` in {packages}"
    if engine != "node" and browser() is None:
        return f"there is no Chromium on the PATH ({', '.join(BROWSERS)}); install chromium"
    return None


def browser() -> str | None:
    """The first of `BROWSERS` on the PATH."""
    return next((path for name in BROWSERS if (path := shutil.which(name)) is not None), None)


def take_tokens(run: EngineRun, tokens: Tokens, prefilled: int) -> TokensTaken:
    """Execute: the first `prefilled` tokens by one prefill, each of the others by decode.

    Raises RuntimeUnavailable for what is not there, ExecutionFailed for what goes wrong.
    """
    # (1), (2)
    facts = run_script(run, {"tokens": tokens.tolist(), "prefilled": prefilled})
    # (3)
    logits, decoded = run.array(facts, "logits"), len(tokens) - prefilled
    if len(logits) != decoded:
        raise ExecutionFailed(
            f"{run}: gave {len(logits)} rows of logits for {decoded} tokens; export again"
        )
    seconds = facts["seconds"]
    return TokensTaken(
        logits=logits,
        version=facts["version"],
        device=run.says(facts),
        left_over=left_over(run, facts),
        open_seconds=seconds["open"],
        first_token_seconds=seconds["first_token"],
        token_seconds=seconds["each_token"],
    )


def run_script(run: EngineRun, given: Mapping[str, Any]) -> dict[str, Any]:
    """Give the engine's script an order; what it answers. Arrays lie in the scratch directory then.

    Raises as `take_tokens`, and BeyondAdapter for a release of fp16 where the adapter computes in none.
    """
    if (reason := missing_engine(run.engine, run.packages)) is not None:
        raise RuntimeUnavailable(reason)
    answer = run.scratch / "answer.json"
    order = {
        **given,
        "answer": str(answer),
        "arrays": str(run.scratch.resolve()),
        "browser": browser(),
        "device": run.engine,
        "milliseconds": round(run.seconds * 1000),
        "packages": str(run.packages.resolve()),
        "profile": str((run.scratch / "profile").resolve()),
        "release": str(run.release.resolve()),
    }
    path = run.scratch / "order.json"
    path.write_text(json.dumps(order), encoding="utf-8")
    script = SCRIPTS / ("in_node.mjs" if run.engine == "node" else "in_browser.mjs")
    command = ["node", str(script), str(path)]
    try:
        run_in_own_process(command, what=str(run), seconds=run.seconds, environment=_environment())
    except ExecutionFailed as error:
        if NO_FP16 in str(error):
            raise BeyondAdapter(
                f"{run}: the adapter computes in no fp16, which this release is of; open it in a browser "
                "whose GPU does"
            ) from error
        raise
    return read_json_object(answer)


def _environment() -> dict[str, str]:
    """This process's, without what chooses a Vulkan driver: a browser brings SwiftShader, and with another
    driver named has no adapter at all."""
    return {name: value for name, value in os.environ.items() if not name.startswith("VK_")}


def left_over(run: EngineRun, facts: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Operators that were not placed on the adapter, beside those `LENGTHS` names; None without one."""
    if run.engine != "webgpu":
        return None
    placed: Mapping[str, list[str]] = facts["placed"]
    if facts["adapter"] is None:
        raise RuntimeUnavailable(f"{run}: the browser has no adapter; install its SwiftShader")
    if not placed.get("WebGpuExecutionProvider"):
        raise ExecutionFailed(f"{run}: nothing was placed on the adapter {facts['adapter']}; export again")
    others = (name for provider, names in placed.items() if provider[:6] != "WebGpu" for name in names)
    return tuple(name for name in others if f"({LENGTHS}" not in name)


def _major_version(node: str) -> int | None:
    try:
        said = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.match(r"v([0-9]+)\.", said.stdout)
    return None if match is None else int(match[1])
