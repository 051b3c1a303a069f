"""A release for the web answering a prompt, in Node and in Chromium: docs/web.md.

    python -m benchmarks.web RELEASE [--engine node wasm webgpu] [--prompt TEXT] [--tokens N]

Prints a Markdown table, a row for each engine: bytes a page with an empty cache downloads, of the release
and of transformers.js with ONNX Runtime; seconds to open, to the first token, and for each later one; and
the answers. What engines compute of tiny models: `python -m benchmarks.accelerators --format onnx-web`.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from exporter.formats.family import PROMPT
from exporter.formats.web_paths import packages
from runtimes.errors import RuntimesError
from runtimes.onnx.transformers_js import Engine, EngineRun, run_script

SECONDS = 3600


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("release", type=Path)
    parser.add_argument("--engine", nargs="+", choices=get_args(Engine), default=["node", "wasm"])
    parser.add_argument("--prompt", default=PROMPT)
    parser.add_argument("--tokens", type=int, default=16)
    options = parser.parse_args()
    columns = ("Engine", "Release", "Library", "Open", "First token", "Each later one", "Adapter")
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}", flush=True)
    answers: dict[str, str] = {}
    for engine in options.engine:
        try:
            facts = answered(engine, options.release, options.prompt, options.tokens)
        except RuntimesError as error:
            answers[engine] = str(error)
            continue
        print(f"| {engine}, {facts['device']} | {row(facts)} |", flush=True)
        answers[engine] = facts["text"]
    for engine, answer in answers.items():
        print(f"\n{engine}: {answer}")


def answered(engine: Engine, release: Path, prompt: str, tokens: int) -> Mapping[str, Any]:
    """What the engine's script says of its answer."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        run = EngineRun(engine, release, packages(), Path(scratch), SECONDS)
        return run_script(run, {"prompt": prompt, "new_tokens": tokens})


def row(facts: Mapping[str, Any]) -> str:
    seconds, served = facts["seconds"], facts.get("served", {})
    cells = (
        megabytes(served.get("release")),
        megabytes(served.get("packages")),
        f"{seconds['open']:.1f} s",
        f"{seconds['first_token']:.2f} s",
        f"{seconds['each_token']:.3f} s",
        str(facts.get("adapter") or "–"),
    )
    return " | ".join(cells)


def megabytes(size: int | None) -> str:
    return "–" if size is None else f"{size / 1e6:.1f} MB"


if __name__ == "__main__":
    main()
