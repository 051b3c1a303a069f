"""What of a quantised checkpoint a file holds unchanged: counted from the file's bytes, weight by weight.

    python -m benchmarks.taken_over [--model REF] [--recipe as-stored] [--format onnx]

Plans, quantises and lowers for one format without validating, reads every matrix back from what was
written, and compares code times scale with the checkpoint's own values. Prints a row for each type of
the checkpoint and scheme of the file: matrices, how they came to be, weights that are equal, and scales
below 0.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

from benchmarks.export import run_lowering
from benchmarks.one_variant import job_for, plan_for
from exporter.checkpoints.open import open_source
from exporter.lowering.table import lowerings_for
from exporter.workshop import quantize
from runtimes.formats import FORMATS
from runtimes.manifest import Artifact

CONTEXT = 128


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model")
    parser.add_argument("--recipe", default="as-stored")
    parser.add_argument("--format", choices=FORMATS, default="onnx")
    options = parser.parse_args()
    source = open_source(options.model)
    plan = plan_for(source, options.recipe, (options.format,), CONTEXT)
    matrices, weights, equal, negative = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory)
        checkpoint = quantize(job_for(source, plan, work), plan, work / "quantized")
        run_lowering(options.model, options.recipe, work, options.format, CONTEXT)
        out = work / options.format
        artifact = Artifact(**json.loads((out / "artifact.json").read_text(encoding="utf-8")))
        (lowering,) = lowerings_for((options.format,)).values()
        for rows in lowering.read_back(out, artifact):
            origin, scheme = checkpoint.origins[rows.weight], checkpoint.matrices[rows.weight].scheme
            kind = f"{origin.how} from {origin.dtype} as {scheme.name}"
            found = rows.values
            if rows.codes is not None and rows.scales is not None:
                grouped = rows.codes.reshape(*rows.scales.shape, -1) * rows.scales[..., None]
                found = grouped.reshape(rows.codes.shape)
                negative[kind] += int((rows.scales < 0).sum())
            assert found is not None  # of StoredRows, either values or codes and scales are set
            expected = source.rows(rows.weight, rows.start, rows.start + len(found))
            matrices[kind] += rows.start == 0
            weights[kind] += found.size
            equal[kind] += int(np.equal(found, expected).sum())
    for kind, count in sorted(weights.items()):
        print(
            f"{matrices[kind]:4} matrices {kind}: {equal[kind]:,} of {count:,} weights equal, "
            f"{negative[kind]:,} scales below 0"
        )


if __name__ == "__main__":
    main()
