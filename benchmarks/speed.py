"""Decode and prefill speed of every artifact of a release, through its driver, in turn.

    python -m benchmarks.speed RELEASE [--threads 2] [--prompt 512] [--tokens 64] [--rounds 3]

Artifacts take turns, round by round, so that a machine that slows down slows all of them; the best
round of each is printed. The MIL evaluator is not a runtime anyone ships: its speed is our waiting
time, not a device's.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from runtimes.manifest import read_manifest
from runtimes.memory import process_memory
from runtimes.open import open_session
from runtimes.session import Session

MIB = 2**20


def one_round(session: Session, prompt: int, tokens: int) -> tuple[float, float]:
    """Prefill and decode tokens per second of one conversation."""
    random = np.random.default_rng(0)
    ids = random.integers(10, session.facts.vocab_size - 10, prompt + tokens).astype(np.int32)
    session.reset()
    start = time.perf_counter()
    session.prefill(ids[:prompt])
    middle = time.perf_counter()
    for token in ids[prompt:]:
        session.decode(int(token))
    return prompt / (middle - start), tokens / (time.perf_counter() - middle)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("release", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    artifacts = read_manifest(options.release).artifacts
    sessions = {}
    for artifact in artifacts:
        sessions[artifact.path] = open_session(options.release, artifact, threads=options.threads)
    best = dict.fromkeys(sessions, (0.0, 0.0))
    for _ in range(options.rounds):
        for path, session in sessions.items():
            prefill, decode = one_round(session, options.prompt, options.tokens)
            best[path] = (max(best[path][0], prefill), max(best[path][1], decode))
    print(
        f"prompt {options.prompt}, then {options.tokens} tokens, {options.threads} threads, best of "
        f"{options.rounds} rounds taken in turn"
    )
    for path, (prefill, decode) in best.items():
        facts = sessions[path].facts
        speeds = f"prefill {prefill:7.1f} tok/s, decode {decode:6.1f} tok/s"
        print(f"{path:24} {facts.runtime} {facts.version}: {speeds}")
    memory = process_memory()
    if memory.peak_resident is not None:
        print(f"all of them open in one process: {memory.peak_resident / MIB:.0f} MiB peak resident")


if __name__ == "__main__":
    main()
