"""What a float twin takes of memory and disk, in a process of its own: a stage, not the model.

The model has 160 MB of weights in fp32. Run as one stage, the same twin is shown to exceed both bounds.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from exporter.lowering.litert.lowering import LiteRtLowering
from exporter.schemes import INT8_CHANNEL
from tests.fakes import silent
from tests.tiny import tiny_gemma3
from tests.tiny_releases import lowering_order, quantized

STAGE = 16 << 20
CROSSING = 8 << 20  # head slices' logits, mostly
FILES = 2 * STAGE + CROSSING
ANONYMOUS = 40 << 20
RESIDENT = ANONYMOUS + 2 * STAGE
CONFIG = {
    **tiny_gemma3(),
    "vocab_size": 16384,
    "hidden_size": 512,
    "intermediate_size": 2048,
    "num_hidden_layers": 8,
    "head_dim": 128,
    "layer_types": ["sliding_attention", "full_attention"] * 4,
}
RUN = """
import json, sys
from pathlib import Path
import numpy as np
from exporter.lowering.interface import Segment
from exporter.lowering.litert.twin.float_twin import LiteRtTwin
from exporter.validation.resident import PeakGrowth
from runtimes.memory import process_memory
artifact, scratch, stage = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
twin = LiteRtTwin.of(artifact, scratch, stage)
growth, before, seen = PeakGrowth(), process_memory().anonymous, []
def look(done):
    files = [path.stat() for path in scratch.rglob("*") if path.is_file()]
    seen.append((process_memory().anonymous - before, sum(512 * file.st_blocks for file in files)))
route = (Segment("prefill", 30), Segment("decode", 20))
rows = list(twin.run(route, np.arange(6, 56, dtype=np.int32), look))
finite = all(np.isfinite(logits).all() and logits.std() > 0.1 for _, logits in rows)
anonymous, disk = (max(column) for column in zip(*seen))
print(json.dumps([len(rows), finite, anonymous, growth.so_far(), disk]))
"""


@dataclass(frozen=True)
class Taken:
    anonymous: int
    resident: int
    disk: int


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("medium")
    checkpoint = quantized(directory, CONFIG, INT8_CHANNEL)
    lowering = LiteRtLowering(frozenset({"tflite"}))
    (written,) = lowering.lower(lowering_order(checkpoint, directory), directory, silent)
    return directory / written.path


def run(artifact: Path, scratch: Path, stage: int) -> Taken:
    command = [sys.executable, "-c", RUN, str(artifact), str(scratch), str(stage)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows, finite, *taken = json.loads(done.stdout)
    assert (rows, finite) == (20, True)
    assert list(scratch.iterdir()) == []
    return Taken(*taken)


def test_a_twin_takes_no_more_than_a_stage(artifact: Path, tmp_path: Path) -> None:
    taken = run(artifact, tmp_path, STAGE)
    assert taken.disk < FILES
    assert taken.anonymous < ANONYMOUS
    assert taken.resident < RESIDENT


def test_in_one_piece_it_would_take_far_more(artifact: Path, tmp_path: Path) -> None:
    taken = run(artifact, tmp_path, 1 << 30)
    assert taken.disk > 5 * FILES
    assert taken.resident > 2 * RESIDENT
