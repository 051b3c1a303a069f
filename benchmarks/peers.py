"""Other exporters on the same checkpoint, held to a memory limit so that they fail instead of the machine.

What a peer cannot do here is printed in its own words.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measured_process import GIB, measure

LIMIT = 18 * GIB  # of data a peer may allocate, on a machine of 24


@dataclass(frozen=True)
class Peer:
    """arguments: of python; {model} and {out} are filled in."""

    name: str
    arguments: tuple[str, ...]


PEERS = (
    Peer(
        "genai builder int4",
        (
            "-m", "onnxruntime_genai.models.builder", "-m", "{model}", "-o", "{out}",
            "-p", "int4", "-e", "cpu", "-c", "{out}/cache",
        ),
    ),
    Peer(
        "litert-torch export_hf",
        (
            "-m", "benchmarks.litert_torch_export", "--model={model}", "--output_dir={out}",
        ),
    ),
)  # fmt: skip


def peer_row(peer: Peer, model: str) -> str:
    """What it took, or how it failed."""
    with tempfile.TemporaryDirectory() as out:
        arguments = [argument.format(model=model, out=out) for argument in peer.arguments]
        try:
            measured = measure([sys.executable, *arguments], data_limit=LIMIT)
        except RuntimeError as error:
            last = str(error).strip().splitlines()[-1]
            return f"failed within {LIMIT / GIB:.0f} GiB: {last}"
        size = sum(path.stat().st_size for path in Path(out).rglob("*") if path.is_file())
        return f"{measured.row()} {size / 1e9:6.2f} GB written"
