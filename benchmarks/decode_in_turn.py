"""Decode speed of a release beside another's, token by token in turn: what a new graph costs.

    nice -n -12 python -m benchmarks.decode_in_turn OLD NEW [--format tflite] [--steps 400] [--openings 4]

Each artifact is run by its driver in a process of its own, so that processor time is that of its own
threads. Both get the same tokens: of every two, old and new take the first, then new and old the second.
Openings repeat all of it in new processes. Prints new over old for each format both releases hold. A busy
machine widens the quartiles and moves wall time; processor time and the interval say how far to trust it.

Not about tokens per second (`benchmarks.speed`), nor about whether both compute the same.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.paired_ratios import Ratios, round_ratios, summary
from runtimes.manifest import Artifact, Manifest, read_manifest
from runtimes.open import open_session
from runtimes.session import Tokens

MEGABYTE = 1e6


@dataclass(frozen=True)
class Measurement:
    """How often and how long. prompt: tokens in the cache before the first step. steps: an even number."""

    prompt: int
    steps: int
    openings: int
    threads: int


@dataclass(frozen=True)
class Runner:
    """A process with an open artifact, at the other end of `pipe`: a token in, seconds of wall and of
    processor time out."""

    pipe: Connection

    def step(self, token: int) -> tuple[float, float]:
        self.pipe.send(token)
        wall, processor = self.pipe.recv()
        return wall, processor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--format", help="of those both hold; default: each")
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--openings", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    if options.steps < 2 or options.steps % 2 or options.openings < 1:
        parser.error("--steps is an even number of at least 2, --openings at least 1")
    asked = Measurement(options.prompt, options.steps, options.openings, options.threads)
    releases = (options.old, options.new)
    manifests = (read_manifest(options.old), read_manifest(options.new))
    pairs = [pair for pair in artifact_pairs(*manifests) if options.format in (None, pair[0].format)]
    if not pairs:
        parser.error(f"{options.old} and {options.new} hold no artifact of one format, as asked for")
    if options.prompt + options.steps > min(pair[0].context for pair in pairs):
        parser.error("--prompt and --steps together are more than the context of an artifact")
    for pair in pairs:
        print(
            f"{pair[0].format}: {asked.openings} openings, {asked.steps} steps behind {asked.prompt} tokens"
        )
        for title, release, manifest, artifact in zip(
            ("old", "new"), releases, manifests, pair, strict=True
        ):
            print(f"  {title}: {described(release, manifest, artifact)}")
        wall, processor = compared(releases, pair, asked)
        print(f"  new over old by wall time: {wall.sentence()}")
        print(f"  new over old by processor time: {processor.sentence()}", flush=True)


def artifact_pairs(old: Manifest, new: Manifest) -> Iterator[tuple[Artifact, Artifact]]:
    """Artifacts of one format. Exits where they cannot be given the same tokens at the same positions."""
    for artifact in old.artifacts:
        for other in new.artifacts:
            if artifact.format != other.format:
                continue
            for what in ("vocab_size", "context"):
                values = getattr(artifact, what), getattr(other, what)
                if values[0] != values[1]:
                    raise SystemExit(
                        f"{artifact.format}: {what} is {values[0]} in the old release and "
                        f"{values[1]} in the new one; export both alike"
                    )
            yield artifact, other


def described(release: Path, manifest: Manifest, artifact: Artifact) -> str:
    """What was compared, so that the figures can be had again."""
    under = (artifact.path, f"{artifact.path}/")
    size = sum(
        file.size for file in manifest.files if file.path == under[0] or file.path.startswith(under[1])
    )
    return (
        f"{release / artifact.path}, {manifest.model['name']}, recipe {manifest.plan['recipe']}, context "
        f"{artifact.context}, {size / MEGABYTE:.1f} MB"
    )


def compared(
    releases: tuple[Path, Path], pair: tuple[Artifact, Artifact], asked: Measurement
) -> tuple[Ratios, Ratios]:
    """New over old, by wall and by processor time."""
    random = np.random.default_rng(0)
    tokens = random.integers(10, pair[0].vocab_size - 10, asked.prompt + asked.steps).astype(np.int32)
    wall, processor = [], []
    for _ in range(asked.openings):
        with (
            running(releases[0], pair[0], tokens[: asked.prompt], asked.threads) as old,
            running(releases[1], pair[1], tokens[: asked.prompt], asked.threads) as new,
        ):
            times = times_in_turn(old, new, tokens[asked.prompt :])
        wall.append(round_ratios(times[0, :, 0], times[1, :, 0]))
        processor.append(round_ratios(times[0, :, 1], times[1, :, 1]))
    return summary(wall), summary(processor)


def times_in_turn(old: Runner, new: Runner, tokens: Tokens) -> NDArray[np.float64]:
    """[old and new, tokens, wall and processor]: seconds, in the order A B B A."""
    times = np.empty((2, len(tokens), 2))
    for at, token in enumerate(tokens):
        order = ((0, old), (1, new)) if at % 2 == 0 else ((1, new), (0, old))
        for which, runner in order:
            times[which, at] = runner.step(int(token))
    return times


@contextmanager
def running(release: Path, artifact: Artifact, prompt: Tokens, threads: int) -> Iterator[Runner]:
    """An artifact in a process of its own, its prompt in the cache; the process ends with the block."""
    spawn = get_context("spawn")
    here, there = spawn.Pipe()
    process = spawn.Process(target=serve, args=(there, release, artifact, prompt, threads), daemon=True)
    process.start()
    there.close()
    try:
        here.recv()  # open and prompted
        yield Runner(here)
    finally:
        here.close()
        process.join()


def serve(pipe: Connection, release: Path, artifact: Artifact, prompt: Tokens, threads: int) -> None:
    """The other end of a Runner, until its pipe is closed."""
    session = open_session(release, artifact, threads=threads)
    if len(prompt):
        session.prefill(prompt)
    pipe.send(None)
    while True:
        try:
            token = pipe.recv()
        except EOFError:
            return
        wall, processor = time.perf_counter(), time.process_time()
        session.decode(token)
        pipe.send((time.perf_counter() - wall, time.process_time() - processor))


if __name__ == "__main__":
    main()
