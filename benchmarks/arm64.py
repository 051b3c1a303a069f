"""Releases on emulated ARM64 CPUs, beside this machine's: a row for every artifact and CPU.

    python -m runtimes.arm64.prepare
    python -m benchmarks.arm64 RELEASE [RELEASE ...] [--cpu cortex-a76 ...]

The first tokens of the evaluation text, as `gemma-export validate RELEASE --cpu NAME` gives them, here and
there, each against the artifact's float twin, and the two against each other. Seconds are those of the
emulation: they say nothing of a phone.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from exporter.checkpoints.open import open_source
from exporter.evaluation.statistics import agree
from exporter.formats.arm64_path import DECODED, PREFILLED, arm64_path
from exporter.formats.execution_path import ExecutionPath, PathOrder
from exporter.formats.family import NotOnArm64
from exporter.formats.table import family_of
from exporter.lowering.interface import RouteRunner, Segment
from exporter.lowering.table import lowerings_for
from exporter.reference.texts import load_tokenizer, read_text
from exporter.resources import data_directory
from exporter.schemes import SCHEMES, Scheme
from exporter.validation.routes import SessionRunner
from exporter.views.wording import number, percent
from runtimes.manifest import Artifact, Manifest, read_manifest
from runtimes.open import open_session
from runtimes.session import Logits, Tokens

COLUMNS = (
    "Recipe",
    "Artifact",
    "Runtime",
    "CPU",
    "Twin to here",
    "Twin to there",
    "Limit",
    "Here to there",
    "Top-1",
    "Seconds",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("releases", type=Path, nargs="+")
    parser.add_argument("--model", help="the checkpoint they were made from; default: the sample")
    parser.add_argument("--cpu", action="append", help="as QEMU names it; default: cortex-a76")
    options = parser.parse_args()
    bos_token = open_source(options.model).tokens.bos_token
    print(f"{_row(COLUMNS)}\n{_row(['---'] * 4 + ['---:'] * (len(COLUMNS) - 4))}")
    for release in options.releases:
        tokenizer = load_tokenizer(release / "tokenizer.json")
        text = read_text(data_directory("samples") / "evaluation", tokenizer, bos_token)
        tokens = text.tokens[: PREFILLED + DECODED + 1]  # the last is only predicted
        for cells in rows(release, tokens, options.cpu or ["cortex-a76"]):
            print(_row(cells), flush=True)


def rows(release: Path, tokens: Tokens, cpus: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """What every artifact that can be executed on ARM computes on every CPU."""
    manifest = read_manifest(release)
    for artifact in manifest.artifacts:
        family = family_of(artifact.format)
        if isinstance(family.arm64, NotOnArm64):
            continue
        with tempfile.TemporaryDirectory() as scratch:
            twin = _twin(release, artifact, tokens[:-1], Path(scratch))
        here = _here(release, artifact, tokens[:-1])
        for cpu in cpus:
            path = arm64_path(family, cpu, schemes(manifest), manifest.plan["weight_bytes"])
            with tempfile.TemporaryDirectory() as scratch:
                order = PathOrder(release, artifact, tokens[:-1], PREFILLED, Path(scratch), path.seconds)
                cells = _cells(path, order, tokens[PREFILLED + 1 :], twin, here)
            yield manifest.plan["recipe"], f"`{artifact.path}`", *cells


def schemes(manifest: Manifest) -> list[Scheme]:
    """Of the release's matrices."""
    return [SCHEMES[name] for name in manifest.plan["schemes"]]


def _cells(
    path: ExecutionPath, order: PathOrder, following: Tokens, twin: Logits, here: Logits
) -> tuple[str, ...]:
    begin = time.perf_counter()
    answer = path.run(order)
    seconds = time.perf_counter() - begin
    there = answer.logits
    compared = [
        agree(*pair, following).statistics() for pair in ((twin, here), (twin, there), (here, there))
    ]
    to_here, to_there, apart = (number(found.mean_kl) for found in compared)
    limit, top1 = number(path.mean_kl_limit), percent(compared[1].top1)
    runtime = f"{answer.runtime} {answer.version}"
    return runtime, answer.device, to_here, to_there, limit, apart, top1, f"{seconds:.0f}"


def _here(release: Path, artifact: Artifact, tokens: Tokens) -> Logits:
    """Of the decoded tokens, [decoded, vocab]."""
    with open_session(release, artifact) as session:
        session.prefill(tokens[:PREFILLED])
        return np.stack([session.decode(int(token)) for token in tokens[PREFILLED:]])


def _twin(release: Path, artifact: Artifact, tokens: Tokens, scratch: Path) -> Logits:
    """The same of the float twin."""
    lowering = lowerings_for([artifact.format])[family_of(artifact.format).name]
    twin = lowering.float_twin(release, artifact, scratch)
    if isinstance(twin, Artifact):
        with open_session(scratch, twin) as session:
            return _decoded(SessionRunner(session), tokens)
    return _decoded(twin, tokens)


def _decoded(runner: RouteRunner, tokens: Tokens) -> Logits:
    segments = (Segment("prefill", PREFILLED), Segment("decode", len(tokens) - PREFILLED))
    with closing(runner.run(segments, tokens, lambda done: None)) as found:
        rows = {at + i: row.copy() for at, logits in found for i, row in enumerate(logits)}
    return np.stack([rows[at] for at in range(PREFILLED, len(tokens))])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
