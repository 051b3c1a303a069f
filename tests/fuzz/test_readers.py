"""Whatever is done to a file, its reader gives a value or one of our errors, soon, and in little memory.

Not asserted: that all damage is noticed. In a matrix's bytes digests notice it; a changed name is a name.
`FUZZ_CASES=10000 python -m pytest tests/fuzz -s` tries that many of each and prints the rows of the table
in docs/reliability.md; FUZZ_MINUTES=60 goes on for an hour with each.
"""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.fuzz.readers import READERS, FuzzedReader

CASES = int(os.environ.get("FUZZ_CASES", "250"))
MINUTES = float(os.environ.get("FUZZ_MINUTES", "0"))  # of each kind; other cases every time
MOST_SECONDS = 5.0
MOST_MEMORY_MB = 512
LONGEST_MESSAGE = (
    1500  # characters, the file's path aside: at most 200 of the input, more than once at worst
)


@pytest.mark.parametrize("kind", READERS)
def test_a_sound_file_is_read(kind: str, tmp_path: Path) -> None:
    reader = READERS[kind]
    reader.read(reader.write(tmp_path))


@pytest.mark.parametrize("kind", READERS)
def test_damage_ends_in_a_value_or_in_one_of_our_errors(kind: str, tmp_path: Path) -> None:
    reader = READERS[kind]
    path = reader.write(tmp_path)
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
