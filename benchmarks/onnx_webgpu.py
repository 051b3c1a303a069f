"""ONNX on WebGPU without a browser, and which operator is wrong there: docs/accelerators.md, docs/adr/0023.

    python -m benchmarks.onnx_webgpu [--icd FILE ...]

onnxruntime-webgpu is installed into an environment of its own, below the cache directory, when it is not
there. Prints two Markdown tables for each Vulkan driver: the tiny Gemma 3 as it is written, with attention
kept on the CPU, with inputs of matmuls left in fp32, and with both, mean KL against plain torch; and
GroupQueryAttention alone against what it should compute and against what its shader does (`shader`).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from benchmarks.onnx_webgpu_attention import SUBGROUPS, one_attention, right, shader
from benchmarks.own_environment import environment
from exporter.formats.table import family_of
from exporter.lowering.table import lowerings_for
from exporter.schemes import SCHEMES
from runtimes.formats import Format
from tests.tiny import TINY_CONFIGS
from tests.tiny_releases import TinyRelease, eager_logits, mean_kl, quantized, some_tokens

PACKAGE = "onnxruntime-webgpu==1.27.0"
TOKENS, PREFILLED = some_tokens(42), 37
DRIVERS = ("/usr/share/vulkan/icd.d/lvp_icd.json", "/usr/lib/chromium/vk_swiftshader_icd.json")
GRAPHS: tuple[tuple[str, Format], ...] = (
    ("int8-channel", "onnx"),
    ("int4-g32", "onnx"),
    ("int8-channel", "onnx-web"),
    ("int4-g32", "onnx-web"),
)
COLUMNS = ("Graph", "CPU", "WebGPU", "attention on the CPU", "matmuls of fp32", "both")
SECONDS = 900


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--icd", nargs="+", default=[each for each in DRIVERS if Path(each).exists()])
    options = parser.parse_args()
    python = environment((PACKAGE, "numpy"))
    with tempfile.TemporaryDirectory(prefix="onnx-webgpu-") as place:
        graphs = [Written.of(*each, Path(place)) for each in GRAPHS]
        for icd in options.icd:
            runner = Runner(python, Path(icd), Path(place))
            print(f"\n{icd}\n\n| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}", flush=True)
            for graph in graphs:
                print(f"| {graph.name} | {' | '.join(graph.cells(runner))} |", flush=True)
            print("\n| GroupQueryAttention | largest difference |\n|---|---|", flush=True)
            for words, difference in attention(runner):
                print(f"| {words} | {difference:.1e} |", flush=True)


@dataclass(frozen=True)
class Runner:
    """Runs graphs in the environment, on the adapter of a Vulkan driver."""

    python: Path
    icd: Path
    scratch: Path

    def run(
        self, order: dict[str, Any], feeds: dict[str, NDArray[Any]] | None = None
    ) -> NDArray[np.float32]:
        with tempfile.TemporaryDirectory(dir=self.scratch) as place:
            directory = Path(place)
            (directory / "order.json").write_text(json.dumps(order), encoding="utf-8")
            if feeds is not None:
                np.savez(directory / "feeds.npz", allow_pickle=False, **feeds)
            script = Path(__file__).with_name("onnx_webgpu_session.py")
            # Nothing of this interpreter's own packages may be found there.
            inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
            done = subprocess.run(
                [self.python, script, directory],
                env={**inherited, "VK_ICD_FILENAMES": str(self.icd)},
                capture_output=True,
                text=True,
                timeout=SECONDS,
                check=False,
            )
            if done.returncode != 0:
                sys.exit(f"{PACKAGE} on {self.icd}: {done.stderr[-2000:]}")
            found: NDArray[np.float32] = np.load(directory / ("logits.npy" if feeds is None else "y.npy"))
            return found


@dataclass(frozen=True)
class Written:
    """A tiny model as a graph. plain: the same graph, the inputs of whose matmuls are not rounded.
    attention: names of its nodes of GroupQueryAttention."""

    name: str
    graph: Path
    plain: Path
    attention: list[str]
    expected: NDArray[np.float32]

    @staticmethod
    def of(scheme: str, format: Format, place: Path) -> Written:
        directory = place / f"{scheme}-{format}"
        directory.mkdir()
        checkpoint = quantized(directory, TINY_CONFIGS["Gemma 3"](), SCHEMES[scheme])
        lowering = lowerings_for((format,))[family_of(format).name]
        release = TinyRelease.lower(directory, checkpoint, lowering)
        graph = release.directory / release.artifacts[format].path
        model = onnx.load(graph, load_external_data=False)
        nodes = [node for node in model.graph.node if node.op_type == "GroupQueryAttention"]
        for node in model.graph.node:
            for attribute in node.attribute:
                if attribute.name == "accuracy_level":
                    attribute.i = 0
        plain = graph.with_name("plain.onnx")
        onnx.save(model, plain)
        expected = eager_logits(checkpoint, TOKENS)[PREFILLED - 1 :]
        return Written(f"{format}, {scheme}", graph, plain, [node.name for node in nodes], expected)

    def cells(self, runner: Runner) -> Iterator[str]:
        """Below `COLUMNS`. Of a graph without GroupQueryAttention, what there is none to change for."""
        variants: list[tuple[Path, list[str] | None]] = [(self.graph, None), (self.graph, [])]
        if self.attention:
            variants += [(self.graph, self.attention), (self.plain, []), (self.plain, self.attention)]
        for graph, on_cpu in variants:
            order = {"graph": str(graph), "tokens": TOKENS.tolist(), "prefilled": PREFILLED}
            yield f"{mean_kl(self.expected, runner.run({**order, 'on_cpu': on_cpu})):.1e}"
        yield from ["–"] * (len(COLUMNS) - 1 - len(variants))


def attention(runner: Runner) -> Iterator[tuple[str, float]]:
    """What the operator gives for a prompt, against what it should, and against its shader's defects."""
    graph = runner.scratch / "attention.onnx"
    onnx.save(one_attention(), graph)
    for tokens in (4, 8, 64):
        feeds = prompt(tokens)
        found = runner.run({"graph": str(graph), "on_cpu": []}, feeds)[0]
        yield f"{tokens} tokens, against attention", float(np.abs(found - right(feeds)).max())
        for subgroup in SUBGROUPS:
            difference = float(np.abs(found - shader(feeds, subgroup)).max())
            yield f"{tokens} tokens, against the shader on subgroups of {subgroup}", difference


def prompt(tokens: int) -> dict[str, NDArray[Any]]:
    """Random queries and keys; each key's value is a direction of its own, so that results are weights."""
    random, width = np.random.default_rng(1), 64
    nothing = np.zeros((1, 1, 0, width), np.float32)
    return {
        "q": random.standard_normal((1, tokens, width)).astype(np.float32),
        "k": random.standard_normal((1, tokens, width)).astype(np.float32),
        "v": np.eye(tokens, width, dtype=np.float32)[None],
        "past_k": nothing,
        "past_v": nothing,
        "last": np.array([tokens - 1], np.int32),
        "total": np.array([tokens], np.int32),
    }


if __name__ == "__main__":
    main()
