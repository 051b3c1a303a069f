"""What a float twin takes of memory and disk, in a process of its own: a stage and a batch, not the model.

The model has 160 MB of weights in fp32, and 64 KB of logits a step. With all weights between two layers'
caches in one stage, the same twin is shown to exceed both bounds; with all steps at once, that of memory.
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
BATCH = 2 << 20
STEPS = 120
CROSSING = 24 << 20  # head slices' logits for all steps, mostly, in two parts
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
from exporter.lowering.litert.twin import widening
from exporter.lowering.litert.twin.float_twin import LiteRtTwin
from exporter.validation.resident import PeakGrowth
from runtimes.memory import process_memory
artifact, scratch = Path(sys.argv[1]), Path(sys.argv[2])
stage, widening.BATCH_BYTES, steps = map(int, sys.argv[3:])
twin = LiteRtTwin.of(artifact, scratch, stage)
growth, before, seen = PeakGrowth(), process_memory().anonymous, []
def look(done):
    files = [path.stat() for path in scratch.rglob("*") if path.is_file()]
    seen.append((process_memory().anonymous - before, sum(512 * file.st_blocks for file in files)))
route = (Segment("prefill", 30), Segment("decode", steps))
rows, finite = 0, True
for _, logits in twin.run(route, np.arange(6, 36 + steps, dtype=np.int32), look):
    rows += len(logits)
    finite = finite and bool(np.isfinite(logits).all() and logits.std() > 0.1)
anonymous, disk = (max(column) for column in zip(*seen))
print(json.dumps([rows, finite, anonymous, growth.so_far(), disk]))
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
    (written,) = lowering.lower(lowering_order(checkpoint, directory, context=160), directory, silent)
    return directory / written.path


def run(artifact: Path, scratch: Path, stage: int, batch: int) -> Taken:
    command = [sys.executable, "-c", RUN, *map(str, (artifact, scratch, stage, batch, STEPS))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows, finite, *taken = json.loads(done.stdout)
    assert (rows, finite) == (STEPS, True)
    assert list(scratch.iterdir()) == []
    return Taken(*taken)


def test_a_twin_takes_no_more_than_a_stage_and_a_batch(artifact: Path, tmp_path: Path) -> None:
    taken = run(artifact, tmp_path, STAGE, BATCH)
    assert taken.disk < FILES
    assert taken.anonymous < ANONYMOUS
    assert taken.resident < RESIDENT


def test_in_larger_stages_it_would_take_more(artifact: Path, tmp_path: Path) -> None:
    taken = run(artifact, tmp_path, 1 << 30, BATCH)
    assert taken.disk > 1.5 * FILES
    assert taken.resident > 1.25 * RESIDENT


def test_with_all_steps_at_once_it_would_take_more(artifact: Path, tmp_path: Path) -> None:
    assert run(artifact, tmp_path, STAGE, 1 << 30).anonymous > 1.25 * ANONYMOUS
