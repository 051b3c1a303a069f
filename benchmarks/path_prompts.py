"""Tiny models that see or hear on execution paths: prompts with a picture or a sound, docs/accelerators.md.

    python -m benchmarks.path_prompts [--family NAME ...] [--format litertlm onnx] [--cpu cortex-a76]

A row for each family, kind of sample, format and path: mean KL against transformers on the quantised
weights, of text alone, of a sample in the middle with transformers' rows and with rows of the path's own
tower, and of one behind a window of text; then what an accelerator left over. --cpu: on that CPU, emulated,
and nowhere else.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from exporter.formats.arm64_path import arm64_path
from exporter.formats.execution_path import ExecutionPath
from exporter.formats.table import family_of, paths_of
from exporter.lowering.table import lowerings_for
from exporter.planning.plan import Plan
from exporter.validation.findings import Findings
from exporter.validation.path_check import LEFT_OVER
from exporter.validation.placed_prompts import ALONE, BEHIND_WINDOW, MIDDLE
from exporter.validation.verdict import Failed
from runtimes.formats import FORMATS, Format
from tests.seeing_models import Sensing, hearing, seeing
from tests.tiny_encoders import TINY_ENCODERS
from tests.tiny_image_stores import KINDS

COLUMNS = ("Text alone", "In the middle", "With rows of its own", "Behind a window", "Left over", "Gates")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--family", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--format", nargs="+", choices=FORMATS, default=["litertlm"])
    parser.add_argument("--cpu", help="as QEMU names it")
    options = parser.parse_args()
    print(f"| Family | Given | Path | {' | '.join(COLUMNS)} |\n|{'---|' * (3 + len(COLUMNS))}", flush=True)
    for family in options.family:
        for made in (seeing, hearing) if family in TINY_ENCODERS else (seeing,):
            for format in options.format:
                with tempfile.TemporaryDirectory(prefix="path-prompts-") as place:
                    for cells in rows(made(Path(place), family), format, options.cpu):
                        print(f"| {' | '.join((family, *cells))} |", flush=True)


def rows(model: Sensing, format: Format, cpu: str | None) -> Iterator[tuple[str, ...]]:
    """One of each path."""
    (lowering,) = lowerings_for([format]).values()
    release = model.release(lowering, format, format, chunk=16)
    paths = paths_of(format) if cpu is None else (emulated(format, cpu, release.plan),)
    findings = model.findings(replace(release, paths=lambda _: paths), lowering)
    for path in paths:
        yield "sound" if model.hears else "picture", path.title, *figures(findings, path, model.hears)


def emulated(format: Format, cpu: str, plan: Plan) -> ExecutionPath:
    return arm64_path(family_of(format), cpu, plan.schemes.values(), plan.weight_bytes)


def figures(findings: Findings, path: ExecutionPath, hears: bool) -> Iterator[str]:
    """Cells of `COLUMNS`, a dash where nothing was compared."""
    sample = "sound" if hears else "picture"
    middle = MIDDLE.format(sample)
    found = {each.route: each.statistics for each in findings.comparisons if each.subject == path.title}
    for route in (ALONE.format(sample), middle, f"{middle}, rows of its own", BEHIND_WINDOW.format(sample)):
        yield f"{found[route].mean_kl:.1e}" if route in found else "–"
    gates = [each for each in findings.gates if each.subject.startswith(path.title)]
    left = [each.verdict for each in gates if each.statistic == LEFT_OVER]
    yield "something" if any(isinstance(each, Failed) for each in left) else ("nothing" if left else "–")
    wrong = sum(isinstance(each.verdict, Failed) for each in gates)
    yield f"{wrong} of {len(gates)} fail" if wrong else f"{len(gates)} hold"


if __name__ == "__main__":
    main()
