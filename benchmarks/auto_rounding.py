"""What auto-round makes of a checkpoint in four bits, as an oracle for our own codes.

    python -m benchmarks.auto_rounding OUT [--model REF] [--kind zero-points] [--iterations 50]
                                    [--tokens 25600]
    python -m benchmarks.quality --checkpoint OUT ...

auto-round learns the rounding of each layer's linears by gradient descent on the layer's output. It runs in
an environment of its own, on the calibration text that our recipes see, in groups of 32 as ours. OUT is a
Hugging Face directory in float32 of what comes back, with `stored.json`: bytes of each tensor, codes,
16-bit scales and 4-bit zero points. It leaves the embedding alone, which counts in half precision.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.off_grid import write_checkpoint
from benchmarks.own_environment import environment
from exporter.checkpoints.open import open_source
from exporter.models.text.spec import Role
from exporter.reference.calibration_text import calibration_text
from exporter.reference.texts import Texts

PACKAGES = (
    "auto-round==0.16.1", "py-cpuinfo==9.0.0", "datasets==5.2.0", "multiprocess==0.70.19", "pandas==3.1.1",
    "pyarrow==26.0.1", "dill==0.4.1", "xxhash==4.1.0",
)  # fmt: skip
BITS = {"symmetric": 4 + 16 / 32, "zero-points": 4 + 20 / 32}
STORED_NAME = "stored.json"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--kind", choices=BITS, default="zero-points")
    parser.add_argument("--iterations", type=int, default=50)
    parser.add_argument("--tokens", type=int, default=25600)
    options = parser.parse_args()
    source = open_source(options.model)
    python = environment(PACKAGES, beside_ours=True)
    text = calibration_text(source, Texts.of(source), ()).first(options.tokens)
    with tempfile.TemporaryDirectory() as place:
        checkpoint, tokens, made = (Path(place, name) for name in ("checkpoint", "tokens.npy", "made"))
        write_checkpoint(source, checkpoint)
        np.save(tokens, text.sequences)
        script = Path(__file__).with_name("auto_round_session.py")
        began = time.monotonic()
        subprocess.run(
            [python, script, checkpoint, tokens, made, str(options.iterations), options.kind],
            check=True,
            stdout=sys.stderr,
        )
        (found,) = made.iterdir()
        shutil.move(found, options.out)
    stored = {
        weight.name: _bits(weight.role, weight.is_matrix, options.kind) * math.prod(weight.shape) / 8
        for weight in source.components["text"].spec.weights()
    }
    (options.out / STORED_NAME).write_text(json.dumps({name: int(each) for name, each in stored.items()}))
    print(f"{options.out}: {options.iterations} iterations, {time.monotonic() - began:.0f} s")


def _bits(role: Role, is_matrix: bool, kind: str) -> float:
    if role is Role.LINEAR:
        return BITS[kind]
    return 16.0 if is_matrix else 32.0


if __name__ == "__main__":
    main()
