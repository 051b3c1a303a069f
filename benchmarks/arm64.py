"""Releases on emulated ARM64 CPUs, beside this machine's: a row for every artifact and CPU.

    python -m runtimes.arm64.prepare
    python -m benchmarks.arm64 RELEASE [RELEASE ...] [--cpu cortex-a76 ...]

The first tokens of the evaluation text, as `gemma-export validate RELEASE --cpu NAME` gives them. Seconds
are those of the emulation: they say nothing of a phone.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from exporter.checkpoints.open import open_source
from exporter.formats.arm64_path import DECODED, PREFILLED, arm64_path
from exporter.formats.execution_path import ExecutionPath, PathOrder
from exporter.formats.table import family_of
from exporter.reference.texts import load_tokenizer, read_text
from exporter.resources import data_directory
from exporter.schemes import SCHEMES, Scheme
from exporter.validation.statistics import agree
from exporter.views.wording import number, percent
from runtimes.manifest import Manifest, read_manifest
from runtimes.open import open_session
from runtimes.session import Logits, Tokens

HEADER = "| recipe | artifact | executed by | mean KL | max KL | top-1 | limit | seconds |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("releases", type=Path, nargs="+")
    parser.add_argument("--model", help="the checkpoint they were made from; default: the sample")
    parser.add_argument("--cpu", action="append", help="as QEMU names it; default: cortex-a76")
    options = parser.parse_args()
    bos_token = open_source(options.model).tokens.bos_token
    print(f"{HEADER}\n|---|---|---|---:|---:|---:|---:|---:|")
    for release in options.releases:
        tokenizer = load_tokenizer(release / "tokenizer.json")
        text = read_text(data_directory("samples") / "evaluation", tokenizer, bos_token)
        tokens = text.tokens[: PREFILLED + DECODED + 1]
        for row in rows(release, tokens, options.cpu or ["cortex-a76"]):
            print(row, flush=True)


def rows(release: Path, tokens: Tokens, cpus: list[str]) -> Iterator[str]:
    """tokens: the last one is only predicted."""
    manifest = read_manifest(release)
    for artifact in manifest.artifacts:
        for cpu in cpus:
            path = arm64_path(family_of(artifact.format), cpu, schemes(manifest))
            with tempfile.TemporaryDirectory() as scratch:
                order = PathOrder(release, artifact, tokens[:-1], PREFILLED, Path(scratch), path.seconds)
                yield f"| {manifest.plan['recipe']} | `{artifact.path}` | {cells(path, order, tokens)} |"


def cells(path: ExecutionPath, order: PathOrder, tokens: Tokens) -> str:
    """What a run showed, or why there was none."""
    if (why := path.missing()) is not None:
        return f"not executed: {why} | | | | |"
    begin = time.perf_counter()
    answer = path.run(order)
    seconds = time.perf_counter() - begin
    found = agree(_here(order), answer.logits, tokens[order.prefilled + 1 :]).statistics()
    return " | ".join(
        (
            f"{answer.runtime} {answer.version}, {answer.device}",
            number(found.mean_kl),
            number(found.max_kl),
            percent(found.top1),
            number(path.mean_kl_limit),
            f"{seconds:.0f}",
        )
    )


def schemes(manifest: Manifest) -> list[Scheme]:
    """Of the release's matrices."""
    return [SCHEMES[name] for name in manifest.plan["schemes"]]


def _here(order: PathOrder) -> Logits:
    with open_session(order.directory, order.artifact) as session:
        session.prefill(order.tokens[: order.prefilled])
        return np.stack([session.decode(int(token)) for token in order.tokens[order.prefilled :]])


if __name__ == "__main__":
    main()
