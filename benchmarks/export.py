"""What an export takes: wall and CPU seconds, peak anonymous and total memory, a process per stage.

    python -m benchmarks.export [--model REF] [--recipe int8] [--context 2048] [--formats onnx ...]
                                [--tokens 64] [--peers]

Stages run one after the other: quantise (from the checkpoint, nothing kept), one lowering a format, the
reference over the first --tokens of the evaluation text on the original and on the quantised
checkpoint, and each artifact run over the same tokens. Anonymous memory is sampled every 20 ms, total
memory is the kernel's high-water mark: mapped files count in it, and can be dropped when memory is
short. --peers runs other exporters on the same checkpoint (`benchmarks.peers`).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from benchmarks.measured_process import measure
from benchmarks.one_variant import job_for, nothing, plan_for
from benchmarks.peers import PEERS, peer_row
from exporter.checkpoints.open import open_source
from exporter.lowering.table import lowerings_for
from exporter.quantization.store.checkpoint import open_quantized
from exporter.quantization.store.unpacked_weights import UnpackedWeights
from exporter.reference.streamed import reference_logits
from exporter.reference.texts import Texts
from exporter.reference.weights import OriginalWeights
from exporter.workshop import lowering_order, quantize
from runtimes.formats import FORMATS, Format
from runtimes.manifest import Artifact
from runtimes.open import open_session

DECODED = 8  # of the tokens, the last ones, one at a time


def run_quantise(options: argparse.Namespace) -> None:
    source = open_source(options.model)
    plan = plan_for(source, options.recipe, tuple(options.formats), options.context)
    quantize(job_for(source, plan, options.work), plan, options.work / "quantized")


def run_lowering(model: str | None, recipe: str, work: Path, format: Format, context: int) -> None:
    source = open_source(model)
    plan = plan_for(source, recipe, (format,), context)
    out = work / format
    out.mkdir()
    source.write_tokenizer(out)
    order = lowering_order(job_for(source, plan, work), plan, open_quantized(work / "quantized"), out)
    (lowering,) = lowerings_for((format,)).values()
    (artifact,) = lowering.lower(order, out, nothing)
    (out / "artifact.json").write_text(json.dumps(asdict(artifact)), encoding="utf-8")


def run_reference(model: str | None, work: Path, which: str, count: int) -> None:
    source = open_source(model)
    weights = (
        OriginalWeights(source)
        if which == "original"
        else UnpackedWeights(open_quantized(work / "quantized"))
    )
    tokens = Texts.of(source).evaluation.cut(count).tokens
    reference_logits(weights, tokens, work / "logits", nothing)


def run_artifact(model: str | None, work: Path, format: Format, count: int) -> None:
    artifact = Artifact(**json.loads((work / format / "artifact.json").read_text(encoding="utf-8")))
    tokens = Texts.of(open_source(model)).evaluation.cut(count).tokens
    with open_session(work / format, artifact) as session:
        session.prefill(tokens[:-DECODED])
        for token in tokens[-DECODED:]:
            session.decode(int(token))


def run_stage(stage: str, options: argparse.Namespace) -> None:
    """In the process that is measured. stage: "lower:onnx"."""
    kind, _, which = stage.partition(":")
    match kind:
        case "quantise":
            run_quantise(options)
        case "lower":
            run_lowering(options.model, options.recipe, options.work, which, options.context)  # type: ignore[arg-type]
        case "reference":
            run_reference(options.model, options.work, which, options.tokens)
        case _:
            run_artifact(options.model, options.work, which, options.tokens)  # type: ignore[arg-type]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model")
    parser.add_argument("--recipe", default="int8")
    parser.add_argument("--context", type=int, default=2048)
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=["litertlm", "onnx", "coreml"])
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--stage", help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peers and not options.model:
        parser.error("--peers needs --model with a Hugging Face directory, which is what they read")
    if options.stage:
        run_stage(options.stage, options)
        return
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "benchmarks.export", "--recipe", options.recipe]
        command += ["--context", str(options.context), "--tokens", str(options.tokens), "--work", directory]
        command += ["--model", options.model] if options.model else []
        command += ["--formats", *options.formats]
        stages = ["quantise", *(f"lower:{format}" for format in options.formats)]
        stages += [
            "reference:original",
            "reference:quantised",
            *(f"run:{format}" for format in options.formats),
        ]
        for stage in stages:
            print(f"{stage:22} {measure([*command, '--stage', stage]).row()}", flush=True)
    if options.peers:
        for peer in PEERS:
            print(f"{peer.name:22} {peer_row(peer, options.model)}", flush=True)


if __name__ == "__main__":
    main()
