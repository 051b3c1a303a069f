"""Peak memory and time of every stage of an export, each in a process of its own.

    python -m benchmarks.memory [--model REF] [--recipe int8] [--context 2048] [--formats onnx ...]

Anonymous memory is sampled every 20 ms, total memory is the kernel's high-water mark. Stages run one after
the other: quantise (from the checkpoint, nothing kept), then one lowering a process.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.measured_process import measure
from exporter.checkpoints.open import open_source
from exporter.lowering.interface import LoweringRequest
from exporter.lowering.table import lowerings_for
from exporter.pipeline import PREFILL_CHUNK, quantize
from exporter.planning.recipe import load_recipe
from exporter.quantization.checkpoint import open_quantized
from runtimes.manifest import FORMATS, Format


def nothing(what: str, done: int, total: int) -> None:
    """Progress nobody watches."""


def run_quantise(model: str | None, recipe_name: str, work: Path) -> None:
    source, recipe = open_source(model), load_recipe(recipe_name)
    quantize(source, recipe, recipe.schemes(source.spec), work / "quantized", nothing)


def run_lowering(model: str | None, work: Path, format: Format, context: int) -> None:
    source = open_source(model)
    out = work / format
    out.mkdir()
    source.write_tokenizer(out)
    request = LoweringRequest(
        checkpoint=open_quantized(work / "quantized"),
        context=context,
        prefill_chunk=PREFILL_CHUNK,
        prefill_logits="last",
        tokenizer=out,
        bos_token=source.tokens.bos_token,
        stop_tokens=source.tokens.stop_tokens,
        chat_template=source.tokens.chat_template,
    )
    for lowering in lowerings_for((format,)).values():
        lowering.lower(request, out, nothing)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model")
    parser.add_argument("--recipe", default="int8")
    parser.add_argument("--context", type=int, default=2048)
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=["litertlm", "onnx", "coreml"])
    parser.add_argument("--stage", help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage == "quantise":
        run_quantise(options.model, options.recipe, options.work)
        return
    if options.stage:
        run_lowering(options.model, options.work, options.stage, options.context)
        return
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "benchmarks.memory", "--recipe", options.recipe]
        command += ["--context", str(options.context), "--work", directory]
        command += ["--model", options.model] if options.model else []
        for stage in ("quantise", *options.formats):
            print(f"{stage:10} {measure([*command, '--stage', stage]).row()}", flush=True)


if __name__ == "__main__":
    main()
