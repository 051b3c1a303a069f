"""What runs inside the process that `gpu` starts: `python -m runtimes.litert.gpu_process ORDER`.

It opens the artifact, feeds the tokens, and leaves logits.npy and answer.json in the scratch directory:
what it found, or what it refused; of pictures, rows.npz. A crash leaves neither. Progress goes to file
descriptor 2 beside LiteRT's own log, so that of a hang is known where.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from runtimes.errors import RuntimesError
from runtimes.litert.gpu_files import gpu_files, require_room
from runtimes.litert.gpu_images import open_tower_on_gpu
from runtimes.litert.gpu_pictures import read_pictures, write_rows
from runtimes.litert.gpu_session import GpuArithmetic, GpuSession
from runtimes.records import from_plain, to_plain
from runtimes.session import Logits
from runtimes.strict_json import read_json_object

ORDER, TOKENS, LOGITS, ANSWER = "order.json", "tokens.npy", "logits.npy", "answer.json"


@dataclass(frozen=True)
class GpuWork:
    """path: of the artifact. given: what lies in the scratch directory. prefilled: of the tokens. adapter,
    largest_buffer: that is expected to be chosen, and what it takes."""

    path: str
    given: Literal["tokens", "pictures"]
    arithmetic: GpuArithmetic
    prefilled: int
    adapter: str
    largest_buffer: int


@dataclass(frozen=True)
class GpuDone:
    """version: LiteRT's. arithmetic: in words."""

    version: str
    arithmetic: str
    fully_accelerated: bool


@dataclass(frozen=True)
class GpuRefused:
    """error: the name of the class in `runtimes.errors`."""

    error: str
    message: str


@dataclass(frozen=True)
class GpuReport:
    """What the process leaves behind."""

    found: GpuDone | GpuRefused


def work(scratch: Path) -> GpuDone:
    """Execute the order that lies in `scratch`. Raises what opening and running raise."""
    order = from_plain(GpuWork, read_json_object(scratch / ORDER))
    return _decode(order, scratch) if order.given == "tokens" else _see(order, scratch)


def _see(order: GpuWork, scratch: Path) -> GpuDone:
    path = Path(order.path)
    _say(f"compiling the image tower of {path.name} in {order.arithmetic}")
    tower = open_tower_on_gpu(path, scratch, order.arithmetic, order.largest_buffer, order.adapter)
    with tower.encoder as encoder:
        rows = []
        for number, picture in enumerate(read_pictures(scratch)):
            _say(f"picture {number}")
            rows.append(encoder.rows(picture))
        write_rows(scratch, rows)
        return GpuDone(encoder.facts.version, encoder.facts.arithmetic, tower.fully_accelerated)


def _decode(order: GpuWork, scratch: Path) -> GpuDone:
    path = Path(order.path)
    tokens = np.load(scratch / TOKENS)
    files = gpu_files(path, scratch)
    require_room(path, files.text, order.arithmetic == "fp16", order.largest_buffer, order.adapter)
    _say(f"compiling {path.name} in {order.arithmetic}")
    with GpuSession.open_on_gpu(path, files, scratch, order.arithmetic) as session:
        chunk = session.facts.prefill_chunk
        for start in range(0, order.prefilled, chunk):
            _say(f"prefill of tokens {start} and on, of {order.prefilled}")
            session.prefill(tokens[start : min(start + chunk, order.prefilled)])
        rows: list[Logits] = []
        for token in tokens[order.prefilled :]:
            _say(f"decode {len(rows) + 1} of {len(tokens) - order.prefilled}")
            rows.append(session.decode(int(token)))
        np.save(scratch / LOGITS, np.stack(rows))
        return GpuDone(session.facts.version, session.facts.arithmetic, session.fully_accelerated)


def answer_order(scratch: Path) -> None:
    """Whatever goes wrong short of a crash is written down as refused."""
    found: GpuDone | GpuRefused
    try:
        found = work(scratch)
    except RuntimesError as error:
        found = GpuRefused(type(error).__name__, str(error))
    except Exception as error:  # LiteRT's own errors are RuntimeError, ValueError and others
        found = GpuRefused("ExecutionFailed", f"{type(error).__name__}: {error}")
    (scratch / ANSWER).write_text(json.dumps(to_plain(GpuReport(found))), encoding="utf-8")


def _say(what: str) -> None:
    sys.stderr.write(f"{what}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    answer_order(Path(sys.argv[1]))
