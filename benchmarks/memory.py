"""Peak memory of an artifact's driver: predicted by the planner, and measured in a process of its own.

    python -m benchmarks.memory [CHECKPOINT] [--recipes int8 int4] [--contexts 1024 4096]
                                [--formats litertlm onnx] [--work DIR]
    python -m benchmarks.memory [CHECKPOINT] --release DIR
    python -m benchmarks.memory [CHECKPOINT] --record MODEL

For each recipe, context and format: write the artifact, open it in a process with numpy and one runtime,
fill its caches but for the last tokens, decode those, and read the kernel's high-water mark. Codes are the
nearest ones, whatever the recipe's method: memory does not depend on which they are, and models of true
shapes and random weights (`benchmarks.random_checkpoint`) are done in minutes. Without CHECKPOINT: the
sample. --release measures the artifacts of a release that was made from it instead. --record puts what is
found into the table that reports speak by (`exporter.planning.measured_memory`), under the id of the
published model whose layers, or first layers, the checkpoint has. Exits with 1 where a
prediction is further off than `measured_memory.MOST_OFF`. Not about devices: what is predicted is this
driver on this machine's CPU, without a tokenizer, counted as Linux counts.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.measured_process import Measured, measure
from runtimes.manifest import Artifact, read_manifest
from runtimes.open import open_session
from runtimes.records import from_plain, to_plain

if TYPE_CHECKING:  # the measured process is this module too, and has none of it
    from exporter.models.text.spec import ModelSpec
    from exporter.planning.plan import Plan

DECODED = 16  # tokens after the prefill
THREADS = 2
PREDICTED = ("litertlm", "tflite", "onnx")  # a browser's memory is not this process's, nor is Core ML's
HEAD = (
    "| model | recipe | context | artifact | on disk, MB | predicted, MB | measured, MB | off "
    "| anonymous, MB: predicted | measured |\n|---|---|---|---|---|---|---|---|---|---|"
)


def drive(directory: Path, artifact: Artifact) -> None:
    """What the measured process does: fill the caches, as an app that goes on to the end would."""
    tokens = np.random.default_rng(0).integers(3, artifact.vocab_size, artifact.context, np.int32)
    with open_session(directory, artifact, threads=THREADS) as session:
        session.prefill(tokens[:-DECODED])
        for token in tokens[-DECODED:]:
            session.decode(int(token))


def run(directory: Path, artifact: Artifact) -> Measured:
    """The driver in a process of its own, its files read anew, as after an app's start: how many pages
    around a touched one are mapped depends on how the page cache came by them."""
    for path in directory.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    said = json.dumps(to_plain(artifact))
    return measure([sys.executable, "-m", "benchmarks.memory", "--drive", said, str(directory)])


@dataclass(frozen=True)
class Subject:
    """A directory of artifacts, what they were made of and by."""

    model: str
    spec: ModelSpec
    plan: Plan
    directory: Path
    artifacts: tuple[Artifact, ...]


def subjects(options: argparse.Namespace, work: Path) -> Iterator[Subject]:
    """Each as it is made."""
    from benchmarks.one_variant import job_for, nothing, plan_for
    from exporter.checkpoints.open import open_source
    from exporter.packaging.finishing import RECIPE_NAME
    from exporter.quantization.quantize import write_quantized
    from exporter.workshop import lowering_order

    source = open_source(options.checkpoint)
    spec = source.components["text"].spec
    if options.release is not None:
        manifest = read_manifest(options.release)
        formats = tuple(each.format for each in manifest.artifacts)
        plan = plan_for(source, str(options.release / RECIPE_NAME), formats, manifest.plan["context"])
        yield Subject(source.name, spec, plan, options.release, manifest.artifacts)
        return
    for recipe in options.recipes:
        for context in options.contexts:
            plan = plan_for(source, recipe, tuple(options.formats), context)
            store = write_quantized(source, plan.schemes, work / f"{recipe}-store", nothing)
            out = work / f"{recipe}-{context}"
            out.mkdir()
            source.write_tokenizer(out)
            job = job_for(source, plan, work)
            order = lowering_order(job, plan, store, out)
            artifacts: tuple[Artifact, ...] = ()
            for lowering in job.lowerings.values():
                artifacts += lowering.lower(order, out, nothing)
            yield Subject(source.name, spec, plan, out, artifacts)


def row(subject: Subject, artifact: Artifact) -> tuple[str, float, Measured]:
    """A row of the table, by what share its prediction is off, and what was found."""
    from exporter.formats.held_memory import OpenedModel, counted
    from exporter.formats.table import family_of
    from exporter.packaging.release import sizes
    from exporter.planning.estimates import cache_size

    spec, plan, family = subject.spec, subject.plan, family_of(artifact.format)
    opened = OpenedModel(
        spec=spec,
        schemes=plan.schemes,
        format=artifact.format,
        accelerator="CPU",
        context=artifact.context,
        prefill_chunk=artifact.prefill_chunk,
        cache_bytes=cache_size(spec, artifact.context, artifact.prefill_chunk, family).bytes,
        text_bytes=0,
        with_tokenizer=False,
    )
    held = family.holds(opened)
    whole = sum(counted(held, "ru_maxrss").values())
    private = sum(counted(held, "phys_footprint").values())
    found = run(subject.directory, artifact)
    on_disk = sum(
        count for path, count in sizes(subject.directory).items() if path.startswith(artifact.path)
    )
    off = whole / found.peak_total - 1
    figures = " | ".join(f"{count / 1e6:,.0f}" for count in (on_disk, whole, found.peak_total))
    lead = f"| {subject.model} | {plan.variant.recipe.name} | {artifact.context:,} | {artifact.path}"
    tail = f"{private / 1e6:,.0f} | {found.peak_anonymous / 1e6:,.0f} |"
    return f"{lead} | {figures} | {off:+.1%} | {tail}", off, found


def record(model: str, subject: Subject, artifact: Artifact, found: Measured) -> None:
    """Into the table that ships. model: the published one that the subject has layers of. Raises UsageError
    for one that is not published."""
    from exporter.models.published import published_spec
    from exporter.planning.measured_memory import (
        MEGABYTE,
        MeasuredMemory,
        measured_memory,
        write_measured_memory,
    )

    layers = subject.spec.layers
    assert layers == published_spec(model).layers[: len(layers)], f"these are not layers of {model}"
    new = MeasuredMemory(
        model=model,
        layers=len(layers),
        recipe=subject.plan.variant.recipe.name,
        context=artifact.context,
        format=artifact.format,
        total_mb=round(found.peak_total / MEGABYTE),
        anonymous_mb=round(found.peak_anonymous / MEGABYTE),
    )
    write_measured_memory((*measured_memory(), new))
    measured_memory.cache_clear()


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", nargs="?")
    parser.add_argument("--release", type=Path)
    parser.add_argument("--recipes", nargs="+", default=["int8", "int4"])
    parser.add_argument("--contexts", nargs="+", type=int, default=[1024, 4096])
    parser.add_argument("--formats", nargs="+", choices=PREDICTED, default=["litertlm", "onnx"])
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--record", metavar="MODEL")
    parser.add_argument("--drive", nargs=2, metavar=("ARTIFACT", "DIR"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.drive is not None:
        artifact, directory = options.drive
        drive(Path(directory), from_plain(Artifact, json.loads(artifact)))
        return 0
    from exporter.planning.measured_memory import MOST_OFF

    print(HEAD, flush=True)
    worst = 0.0
    with tempfile.TemporaryDirectory(prefix="memory-", dir=options.work) as work:
        for subject in subjects(options, Path(work)):
            for artifact in subject.artifacts:
                if artifact.format in PREDICTED:
                    words, off, found = row(subject, artifact)
                    print(words, flush=True)
                    if options.record is not None:
                        record(options.record, subject, artifact, found)
                    worst = max(worst, abs(off))
    print(f"The furthest is off by {worst:.1%}.")
    return int(worst > MOST_OFF)


if __name__ == "__main__":
    sys.exit(main())
