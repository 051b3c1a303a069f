"""What calibrated quantising takes at true shape: one layer measured, all of them reckoned.

    python -m benchmarks.calibration gemma-2-2b [--recipe int4] [--layers 2]

Writes a true-shaped checkpoint of random weights with the first layers only (`random_checkpoint`),
quantises it in a process of its own and deletes it. Three times are told apart: before the codes
(equalisation, which reads every weight once and is reckoned to grow with their number), a layer's codes
(from one layer's last matrix to the next one's), and what follows the layers (the head). Peaks are that
process's: layers come one after the other.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.measured_process import GIB, Measured, measure
from benchmarks.one_variant import job_for, plan_for
from benchmarks.random_checkpoint import write_random_checkpoint
from exporter.checkpoints.open import open_source
from exporter.models.published import published_spec
from exporter.quantization.calibrated_quantize import Coding, write_calibrated
from exporter.quantization.layer_progress import LAYERS_DONE
from exporter.workshop import prepared

CONTEXT = 2048


@dataclass(frozen=True)
class Moment:
    """Seconds since the process began, by the wall and by the processors."""

    wall: float
    cpu: float

    @staticmethod
    def since(began: float) -> Moment:
        return Moment(time.monotonic() - began, time.process_time())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("--recipe", default="int4")
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--quantise", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.layers < 2:
        parser.error("--layers: two at least, for a layer is measured from the end of the one before")
    if options.quantise is not None:
        quantise(options.quantise, options.recipe)
        return
    with tempfile.TemporaryDirectory(prefix="calibration-") as place:
        checkpoint = Path(place, "checkpoint")
        written = write_random_checkpoint(options.model, checkpoint, layers=options.layers)
        command = [sys.executable, "-m", "benchmarks.calibration", options.model]
        measured = measure([*command, "--recipe", options.recipe, "--quantise", str(checkpoint)])
    spec = published_spec(options.model)
    part = f"{options.layers} of {len(spec.layers)} layers"
    print(f"{options.model}, {options.recipe}, {part}: {measured.row()}")
    reckon(measured, len(spec.layers), spec.parameter_count() / written.parameter_count())


def quantise(checkpoint: Path, recipe: str) -> None:
    """In the process that is measured: prints when codes began and when each layer was whole."""
    began = time.monotonic()
    moments: list[Moment] = []

    def told(what: str, done: int, total: int) -> None:
        if what == LAYERS_DONE:
            moments.append(Moment.since(began))

    source = open_source(str(checkpoint))
    plan = plan_for(source, recipe, ("onnx",), CONTEXT)
    with tempfile.TemporaryDirectory(dir=checkpoint.parent) as place:
        job = job_for(source, plan, Path(place))
        text = job.text_for(plan)
        if text is None:
            sys.exit(f"{recipe}: looks at no calibration text; benchmarks.export measures it")
        rescaled = prepared(job, plan)
        moments.append(Moment.since(began))
        coding = Coding(plan.schemes, plan.methods, plan.taken_over)
        write_calibrated(rescaled, coding, text, Path(place, "quantised"), told)
    moments.append(Moment.since(began))
    print(json.dumps([asdict(moment) for moment in moments]))


def reckon(measured: Measured, layers: int, times_the_weights: float) -> None:
    """Print what the whole model would take, by both clocks. times_the_weights: of the model, beside the
    checkpoint's."""
    moments = [Moment(**each) for each in json.loads(measured.output.splitlines()[-1])]
    for name in ("wall", "cpu"):
        first, *each, end = (getattr(moment, name) for moment in moments)
        layer = (each[-1] - each[0]) / (len(each) - 1)
        after = end - each[-1]
        whole = first * times_the_weights + layer * layers + after
        print(
            f"{name}: {first:.0f} s before the codes, {layer:.0f} s a layer, {after:.0f} s after them; "
            f"{whole / 60:.0f} min for {layers} layers (reckoned)"
        )
    print(f"peak: {measured.peak_total / GIB:.2f} GiB in all")


if __name__ == "__main__":
    main()
