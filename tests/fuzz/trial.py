"""One reader and its damaged files: what must come of each, and the figures of docs/reliability.md.

`FUZZ_CASES=10000 python -m pytest tests/fuzz -s` tries that many of each kind and prints the rows of the
table; FUZZ_MINUTES=60 goes on for an hour with each. Not about which readers there are (`readers`).
"""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.fuzz.readers import FuzzedReader

CASES = int(os.environ.get("FUZZ_CASES", "250"))
MINUTES = float(os.environ.get("FUZZ_MINUTES", "0"))  # of each kind; other cases every time
MOST_SECONDS = 5.0
MOST_MEMORY_MB = 512
# Characters, the file's path aside: at most 200 of the input, more than once at worst.
LONGEST_MESSAGE = 1500


def damage(kind: str, reader: FuzzedReader, directory: Path) -> None:
    """Read a file damaged in many ways: each time a value or one of our errors, soon, in little memory."""
    path = reader.write(directory)
    sound, tried, refused, slowest = path.read_bytes(), 0, 0, 0.0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    @settings(
        max_examples=CASES,
        deadline=None,
        database=None,
        derandomize=not MINUTES and "FUZZ_SEED" not in os.environ,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.integers(0, (1 << 63) - 1))
    def one(seed: int) -> None:
        nonlocal tried, refused, slowest
        path.write_bytes(reader.damaged(sound, seed))
        began = time.process_time()  # a busy machine is not a slow reader
        refused += _is_refused(reader, path)
        tried += 1
        slowest = max(slowest, time.process_time() - began)
        assert slowest < MOST_SECONDS

    began = time.monotonic()
    one()
    while time.monotonic() - began < 60 * MINUTES:
        one()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    print(  # noqa: T201  # the figures of docs/reliability.md
        f"\n| fuzz: {kind} | {tried} | {refused} | {tried - refused} | slowest {slowest:.2f} s, "
        f"memory +{grown} MB, {time.monotonic() - began:.0f} s in all |"
    )
    assert refused, "nothing was damaged"
    assert grown < MOST_MEMORY_MB


def _is_refused(reader: FuzzedReader, path: Path) -> bool:
    said = ""
    try:
        reader.read(path)
    except reader.refuses as error:
        said = str(error).replace(str(path.parent), "")
    assert len(said) < LONGEST_MESSAGE
    return bool(said)
