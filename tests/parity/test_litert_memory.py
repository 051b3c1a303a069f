"""Peak memory of a LiteRT lowering, in a process of its own, on a model larger than the bound.

The checkpoint is shaped as the 1B and its data are holes: nothing is run here, only moved.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks.measured_process import measure
from exporter.models.published import published_config
from exporter.models.text.families import read_spec
from exporter.quantization.store.journal import SCHEMA_VERSION
from exporter.quantization.store.safetensors_writer import write_safetensors
from exporter.schemes import INT8_CHANNEL
from tests.tiny import write_tiny_tokenizer

BOUND = 400 << 20  # anonymous; the artifact is a GB
MODEL = "gemma-3-1b"
LOWER = """
import sys
from pathlib import Path
from exporter.lowering.interface import LoweringOrder, MadeFrom
from exporter.lowering.litert.lowering import LiteRtLowering
from exporter.quantization.store.checkpoint import open_quantized
work = Path(sys.argv[1])
made_from = MadeFrom("m", "l", "v")
request = LoweringOrder(open_quantized(work), 1024, 128, "none", work, 2, (1,), None, None, made_from)
LiteRtLowering(frozenset({"litertlm"})).lower(request, work, lambda *step: None)
"""


def _write_holes(directory: Path) -> None:
    config = published_config(MODEL)
    spec = read_spec(config, MODEL)
    schemes = {}
    for weight in spec.weights():
        if weight.is_matrix:
            rows, inputs = weight.shape
            headers: dict[str, tuple[str, tuple[int, ...]]] = {
                f"{weight.name}_packed": ("I32", (rows, inputs // 4)),
                f"{weight.name}_scale": ("F16", (rows, 1)),
                f"{weight.name}_shape": ("I64", (2,)),
            }
            write_safetensors(directory / f"{weight.name}.safetensors", headers, iter(()))
            schemes[weight.name] = INT8_CHANNEL.name
    vectors = {weight.name: ("F32", weight.shape) for weight in spec.weights() if not weight.is_matrix}
    write_safetensors(directory / "vectors.safetensors", vectors, iter(()))
    record = {
        "schema_version": SCHEMA_VERSION,
        "architecture": config,
        "schemes": schemes,
        "methods": {},
        "origins": {},
        "source": {},
        "embedding_columns": False,
    }
    (directory / "quantized.json").write_text(json.dumps(record), encoding="utf-8")


def test_lowering_takes_less_memory_than_half_of_what_it_writes(tmp_path: Path) -> None:
    _write_holes(tmp_path)
    write_tiny_tokenizer(tmp_path)
    measured = measure([sys.executable, "-c", LOWER, str(tmp_path)])
    bundle = tmp_path / "model.litertlm"
    assert bundle.stat().st_size > 2 * BOUND
    assert measured.peak_anonymous < BOUND
    bundle.unlink()  # pytest keeps its directories
