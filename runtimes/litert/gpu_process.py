"""What runs inside the process that `gpu` starts: `python -m runtimes.litert.gpu_process ORDER`.

It opens the artifact, or a tower of it, feeds what lies in the scratch directory, and leaves there what
came of it and answer.json: what it found, or what it refused. A crash leaves neither. Progress goes to file
descriptor 2 beside LiteRT's own log, so that of a hang is known where.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, assert_never

import numpy as np

from runtimes.asked_work import ANSWER, LOGITS, ORDER, TOKENS, EncodeSamples, FeedTokens
from runtimes.errors import RuntimesError
from runtimes.litert.gpu_files import gpu_files, require_room
from runtimes.litert.gpu_session import GpuArithmetic, GpuMultimodalSession, GpuSession
from runtimes.litert.gpu_towers import open_tower_on_gpu
from runtimes.litert.multimodal_session import ids_for_rows
from runtimes.manifest import EncoderArtifact
from runtimes.multimodal.fed_prompt import behind_each
from runtimes.multimodal.passed_files import BEHIND, ROWS, read_prompts, read_samples, write_numbers
from runtimes.records import from_plain, to_plain
from runtimes.session import Logits
from runtimes.strict_json import read_json_object

Opened = TypeVar("Opened", bound=GpuSession)


@dataclass(frozen=True)
class TakeRows:
    """Logits behind each prompt with rows. release: directory that says which ids stand for rows."""

    release: str


@dataclass(frozen=True)
class GpuWork:
    """path: of the artifact. adapter, largest_buffer: that is expected to be chosen, and what it takes."""

    path: str
    asked: FeedTokens | EncodeSamples | TakeRows
    arithmetic: GpuArithmetic
    adapter: str
    largest_buffer: int

    def require_room(self, model: Path) -> None:
        """Raise BeyondAdapter where a tensor of the model is larger than the adapter takes."""
        require_room(Path(self.path), model, self.arithmetic == "fp16", self.largest_buffer, self.adapter)


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
    match order.asked:
        case FeedTokens(prefilled):
            return _decode(order, prefilled, scratch)
        case EncodeSamples(encoder):
            return _sense(order, encoder, scratch)
        case TakeRows(release):
            return _answer(order, Path(release), scratch)
        case _:
            assert_never(order.asked)


def _sense(order: GpuWork, wanted: EncoderArtifact, scratch: Path) -> GpuDone:
    path = Path(order.path)
    _say(f"compiling the {wanted.component} tower of {path.name} in {order.arithmetic}")
    tower = open_tower_on_gpu(path, wanted, scratch, order.arithmetic, order.require_room)
    with tower.encoder as encoder:
        rows = []
        for number, sample in enumerate(read_samples(scratch)):
            _say(f"sample {number}")
            rows.append(encoder.rows(sample))  # type: ignore[arg-type]  # of the tower's own kind
        write_numbers(scratch / ROWS, rows)
        return GpuDone(encoder.facts.version, encoder.facts.arithmetic, tower.fully_accelerated)


def _decode(order: GpuWork, prefilled: int, scratch: Path) -> GpuDone:
    tokens = np.load(scratch / TOKENS)
    with _opened(GpuSession, order, scratch) as session:
        chunk = session.facts.prefill_chunk
        for start in range(0, prefilled, chunk):
            _say(f"prefill of tokens {start} and on, of {prefilled}")
            session.prefill(tokens[start : min(start + chunk, prefilled)])
        rows: list[Logits] = []
        for token in tokens[prefilled:]:
            _say(f"decode {len(rows) + 1} of {len(tokens) - prefilled}")
            rows.append(session.decode(int(token)))
        np.save(scratch / LOGITS, np.stack(rows))
        return _done(session)


def _answer(order: GpuWork, release: Path, scratch: Path) -> GpuDone:
    path = Path(order.path)
    with _opened(GpuMultimodalSession, order, scratch) as session:
        session.take_rows(path, ids_for_rows(release, path))
        write_numbers(scratch / BEHIND, behind_each(session, read_prompts(scratch), _say))
        return _done(session)


@contextmanager
def _opened(kind: type[Opened], order: GpuWork, scratch: Path) -> Iterator[Opened]:
    path = Path(order.path)
    files = gpu_files(path, scratch)
    order.require_room(files.text)
    _say(f"compiling {path.name} in {order.arithmetic}")
    with kind.open_on_gpu(path, files, scratch, order.arithmetic) as session:
        yield session


def _done(session: GpuSession) -> GpuDone:
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
