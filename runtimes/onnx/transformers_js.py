"""A release for the web, opened and executed by transformers.js: in Node, or in a headless Chromium.

Steps of `take_tokens`:
  (1) write an order for the script of the engine (runtimes/onnx/web), which opens the release as
      `pipeline("text-generation", …)` does and forces tokens on its generation
  (2) run Node on it in a process of its own; with a browser that ends when it does
  (3) read the logits, and what the script says of what computed them
Nothing is fetched: packages and WebAssembly come from the packages' directory. Not about what the logits
are compared with.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from runtimes.errors import ExecutionFailed, RuntimeUnavailable
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


@dataclass(frozen=True)
class TokensToTake:
    """release: the directory with config.json. tokens: the first `prefilled` of them by one prefill, each
    of the others by decode. packages: directory of package.json and node_modules. scratch: existing
    directory for what the run writes. seconds: time limit of it all."""

    engine: Engine
    release: Path
    tokens: Tokens
    prefilled: int
    packages: Path
    scratch: Path
    seconds: float


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


def take_tokens(asked: TokensToTake) -> TokensTaken:
    """Execute. Raises RuntimeUnavailable for what is not there, ExecutionFailed for what goes wrong."""
    name = "in Node" if asked.engine == "node" else f"in Chromium by {asked.engine}"
    what = f"{asked.release.name}: transformers.js {name}"
    logits_path = asked.scratch / "logits"
    # (1), (2)
    given = {"tokens": asked.tokens.tolist(), "prefilled": asked.prefilled, "logits": str(logits_path)}
    facts = run_script(asked, given, what)
    # (3)
    decoded = len(asked.tokens) - asked.prefilled
    numbers = np.fromfile(logits_path, "<f4") if logits_path.is_file() else np.empty(0, np.float32)
    if not len(numbers) or len(numbers) % decoded:
        raise ExecutionFailed(f"{what}: gave {len(numbers)} logits for {decoded} tokens; export again")
    seconds = facts["seconds"]
    return TokensTaken(
        logits=numbers.reshape(decoded, -1),
        version=facts["version"],
        device=_device(asked.engine, facts),
        left_over=_left_over(what, facts) if asked.engine == "webgpu" else None,
        open_seconds=seconds["open"],
        first_token_seconds=seconds["first_token"],
        token_seconds=seconds["each_token"],
    )


def run_script(asked: TokensToTake, given: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Give the engine's script an order; what it answers."""
    if (reason := missing_engine(asked.engine, asked.packages)) is not None:
        raise RuntimeUnavailable(reason)
    answer = asked.scratch / "answer.json"
    order = {
        **given,
        "answer": str(answer),
        "browser": browser(),
        "device": asked.engine,
        "milliseconds": round(asked.seconds * 1000),
        "packages": str(asked.packages.resolve()),
        "profile": str((asked.scratch / "profile").resolve()),
        "release": str(asked.release.resolve()),
    }
    path = asked.scratch / "order.json"
    path.write_text(json.dumps(order), encoding="utf-8")
    script = SCRIPTS / ("in_node.mjs" if asked.engine == "node" else "in_browser.mjs")
    run_in_own_process(
        ["node", str(script), str(path)], what=what, seconds=asked.seconds, environment=_environment()
    )
    return read_json_object(answer)


def _environment() -> dict[str, str]:
    """This process's, without what chooses a Vulkan driver: a browser brings SwiftShader, and with another
    driver named has no adapter at all."""
    return {name: value for name, value in os.environ.items() if not name.startswith("VK_")}


def _device(engine: Engine, facts: Mapping[str, Any]) -> str:
    if engine != "webgpu":
        return str(facts["device"])
    return f"{facts['adapter']} in {facts['device']}"


def _left_over(what: str, facts: Mapping[str, Any]) -> tuple[str, ...]:
    """Operators that were not placed on the adapter."""
    placed: Mapping[str, list[str]] = facts["placed"]
    if facts["adapter"] is None:
        raise RuntimeUnavailable(f"{what}: the browser has no adapter; install its SwiftShader")
    if not placed.get("WebGpuExecutionProvider"):
        raise ExecutionFailed(f"{what}: nothing was placed on the adapter {facts['adapter']}; export again")
    others = (name for provider, names in placed.items() if provider[:6] != "WebGpu" for name in names)
    return tuple(name for name in others if f"({LENGTHS}" not in name)


def _major_version(node: str) -> int | None:
    try:
        said = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.match(r"v([0-9]+)\.", said.stdout)
    return None if match is None else int(match[1])
