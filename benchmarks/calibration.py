"""What calibrated quantising takes at true shape: one layer measured, all of them reckoned.

    python -m benchmarks.calibration gemma-2-2b [--recipe int4] [--layers 1 3]

Writes true-shaped checkpoints of random weights with the first layers only
(`benchmarks.random_checkpoint`), quantises each in a process of its own and deletes it. What they differ by
is the layers between; the model's other layers are reckoned at that. Peaks are of the larger checkpoint:
layers come one after the other.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.measured_process import GIB, Measured, measure
from benchmarks.random_checkpoint import write_random_checkpoint
from exporter.models.published import published_spec


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("--recipe", default="int4")
    parser.add_argument("--layers", nargs=2, type=int, default=[1, 3], metavar=("FEW", "MORE"))
    options = parser.parse_args()
    few, more = options.layers
    every = len(published_spec(options.model).layers)
    found = [quantised(options.model, options.recipe, layers) for layers in (few, more)]
    for layers, measured in zip((few, more), found, strict=True):
        print(
            f"{options.model}, {options.recipe}, {layers} of {every} layers: {measured.row()}", flush=True
        )
    for name, first, last in (
        ("wall", found[0].wall, found[1].wall),
        ("CPU", found[0].cpu, found[1].cpu),
    ):
        layer = (last - first) / (more - few)
        whole = first + layer * (every - few)
        print(f"{name}: {layer:.0f} s a layer, {whole / 60:.0f} min for {every} (reckoned)")
    print(f"peak of {more} layers: {found[1].peak_total / GIB:.2f} GiB in all")


def quantised(model: str, recipe: str, layers: int) -> Measured:
    """Quantising the first layers of a model."""
    with tempfile.TemporaryDirectory(prefix="calibration-") as place:
        checkpoint, work = Path(place, "checkpoint"), Path(place, "work")
        write_random_checkpoint(model, checkpoint, layers=layers)
        work.mkdir()
        command = [sys.executable, "-m", "benchmarks.export", "--stage", "quantise", "--recipe", recipe]
        return measure([*command, "--model", str(checkpoint), "--work", str(work), "--formats", "onnx"])


if __name__ == "__main__":
    main()
