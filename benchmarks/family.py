"""True-shaped models of random weights, exported by the command, run, compared, deleted: a row each.

    python -m benchmarks.family [MODEL ...] [--recipe int4] [--tokens 64] [--formats litertlm onnx coreml]
                                [--work DIR] [--layers N]

For each model: write the checkpoint (`benchmarks.random_checkpoint`, seed 0), run `gemma-export` on it in a
process of its own, read the report, delete everything. Needs disk for the checkpoint (2 bytes a parameter)
and for two to three times the release. What random weights cannot show is the price of quantisation: the
column is there to be compared with others of its kind, not with a trained model's.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from benchmarks.measured_process import GIB, Measured, measure
from benchmarks.one_variant import plan_for
from benchmarks.random_checkpoint import write_random_checkpoint
from exporter.checkpoints.open import open_source
from exporter.packaging.staging import held_back_directory
from exporter.reference.texts import Texts
from exporter.stage_memory import planned_stages
from exporter.validation.report import Comparison, ValidationReport
from exporter.validation.verdict import Passed
from exporter.views.json_report import read_report
from runtimes.formats import FORMATS

MODELS = ("gemma-3-1b", "gemma-3-4b", "gemma-2-2b", "gemma-4-e2b", "gemma-2-9b", "gemma-4-12b")
HEAD = (
    "| model | parameters | checkpoint | export, all of it | CPU | peak anonymous | peak total | planned "
    "| artifact "
    "| bytes | lowering KL | kernels KL | end to end KL |"
)


def export(checkpoint: Path, out: Path, options: argparse.Namespace) -> Measured:
    """Run the command. Exit code 1 is a verdict: random weights may cost more than a recipe allows."""
    command = [sys.executable, "-m", "exporter.cli", "--target", "all", "--anyway"]
    command += ["--model", str(checkpoint)]
    command += ["--recipe", options.recipe, "--validation-tokens", str(options.tokens), "-o", str(out)]
    command += ["--context", str(options.context)]
    for format in options.formats:
        command += ["--format", format]
    return measure(command, expected=(0, 1))


def planned_memory(checkpoint: Path, options: argparse.Namespace) -> int:
    """What --max-ram would have held the export to, in bytes."""
    source = open_source(str(checkpoint))
    plan = plan_for(source, options.recipe, tuple(options.formats), options.context)
    stages = planned_stages(source, plan, Texts.of(source), options.tokens)
    return max(stage.bytes for stage in stages)


def rows(
    model: str, parameters: int, size: int, taken: Measured, planned: int, report: ValidationReport
) -> list[str]:
    """A row for each execution of an artifact. planned: bytes of total memory."""
    lead = (
        f"| {model} | {parameters / 1e6:.0f} M | {size / 1e9:.1f} GB "
        f"| {taken.wall / 60:.1f} min | {taken.cpu / 60:.1f} min "
        f"| {taken.peak_anonymous / GIB:.2f} GiB | {taken.peak_total / GIB:.2f} GiB "
        f"| {planned / GIB:.1f} GiB "
    )
    found = []
    for run in report.runs:
        kl = {
            kind: _largest(report, kind, run.artifact, run.arithmetic)
            for kind in ("lowering", "kernels", "end to end")
        }
        cells = " | ".join("–" if value is None else f"{value:.1e}" for value in kl.values())
        arithmetic = run.arithmetic.replace(";", ",").partition(",")[0]
        execution = f"{run.artifact}, {run.runtime}, {arithmetic}"
        found.append(f"{lead}| {execution} | {run.bytes / 1e9:.2f} GB | {cells} |")
        lead = "| " * 8
    return found


def _largest(report: ValidationReport, kind: str, artifact: str, arithmetic: str) -> float | None:
    """The worse of the routes. The float twin's subject does not name the runtime's arithmetic in full."""
    of_kind: list[Comparison] = [
        each for each in report.comparisons if each.kind == kind and each.artifact == artifact
    ]
    exact = [each for each in of_kind if each.subject.endswith(arithmetic)]
    return max((each.statistics.mean_kl for each in exact or of_kind), default=None)


def run_model(model: str, options: argparse.Namespace) -> None:
    work = Path(tempfile.mkdtemp(prefix=f"{model}-", dir=options.work))
    try:
        checkpoint, out = work / model, work / "release"
        spec = write_random_checkpoint(model, checkpoint, layers=options.layers)
        size = sum(path.stat().st_size for path in checkpoint.iterdir())
        planned = planned_memory(checkpoint, options)
        taken = export(checkpoint, out, options)
        place = out if out.exists() else held_back_directory(out)
        report = read_report(place / "report.json")
        for row in rows(model, spec.parameter_count(), size, taken, planned, report):
            print(row, flush=True)
        for gate in report.gates:
            if not isinstance(gate.verdict, Passed):
                where = f"{gate.kind}, {gate.artifact}, {gate.subject}"
                print(f"{model}: {where}, {gate.statistic}: {gate.verdict}")
        for remark in report.not_checked:
            print(f"{model}: {remark}")
    finally:
        shutil.rmtree(work)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--recipe", default="int4")
    parser.add_argument("--tokens", type=int, default=65, help="one more than is compared")
    parser.add_argument("--context", type=int, default=2048)
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=["litertlm", "onnx", "coreml"])
    parser.add_argument("--layers", type=int, help="the first N layers only")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()))
    options = parser.parse_args()
    print(HEAD + "\n" + "|---" * 13 + "|", flush=True)
    for model in options.models:
        run_model(model, options)


if __name__ == "__main__":
    main()
