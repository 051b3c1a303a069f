"""Codes found as text passes through the layers already quantised: sequential calibration, output matching.

    python -m benchmarks.output_matching [--model REF] [--recipe int4-zp] [--share 0 1]

Two streams of the calibration text go side by side, one through the original and one through what is
quantised so far. A linear's codes are found for what reaches it in the second, and its weights are first
moved by --share of what makes up best for the difference to the first (0: sequential calibration alone;
1: output matching, w E[x y'] E[y y']^-1). Within a layer all linears are as they were; the head, whose
table is looked up too, stays unmoved. Prints a row for each share, compared as `benchmarks.quality` does.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.compared import compared
from benchmarks.one_variant import job_for, plan_for
from benchmarks.quality_rows import table
from exporter.checkpoints.interface import CheckpointSource
from exporter.checkpoints.open import open_source
from exporter.models.text.spec import COLUMNS_NAME, Role
from exporter.planning.plan import Plan
from exporter.quantization.calibrated_quantize import BATCH, Coding, methods_of
from exporter.quantization.methods.calibrated import Calibrated
from exporter.quantization.methods.interface import FoundCodes, InputMoments, MatrixRows
from exporter.quantization.store.checkpoint import QuantizedCheckpoint
from exporter.quantization.store.unpacked_weights import UnpackedWeights
from exporter.quantization.store.writer import StoreWriter
from exporter.reference.calibration_text import CalibrationText
from exporter.reference.streamed import StreamedReference
from exporter.schemes import IntegerScheme
from exporter.workshop import prepared

DAMPING = 0.01  # share of the mean energy, of what weights are moved by


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model")
    parser.add_argument("--recipe", default="int4-zp")
    parser.add_argument("--share", nargs="+", type=float, default=[0.0, 1.0])
    options = parser.parse_args()
    source = open_source(options.model)
    rows = []
    for share in options.share:
        with tempfile.TemporaryDirectory(prefix="matching-") as place:
            began = time.process_time()
            store = _quantised(source, options.recipe, share, Path(place))
            print(f"{time.process_time() - began:.0f} CPU s", file=sys.stderr, flush=True)
            name = f"{options.recipe}, matched by {share:g}"
            rows += compared(source, {name: (UnpackedWeights(store), store)})
    print(table(rows))


@dataclass(frozen=True)
class _Moments(InputMoments):
    """turn: [in, in], what weights are multiplied with before their codes are found."""

    turn: NDArray[np.float32] = field(default_factory=lambda: np.eye(1, dtype=np.float32))


@dataclass(frozen=True)
class _TurnedRows(MatrixRows):
    turn: NDArray[np.float32] = field(default_factory=lambda: np.eye(1, dtype=np.float32))

    def values(self) -> NDArray[np.float32]:
        turned: NDArray[np.float32] = super().values() @ self.turn
        return turned


@dataclass(frozen=True)
class _Matched(Calibrated):
    """Satisfies `Method`."""

    def find(self, rows: MatrixRows, scheme: IntegerScheme, moments: InputMoments | None) -> FoundCodes:
        if isinstance(moments, _Moments):
            rows = _TurnedRows(rows.source, rows.name, rows.start, rows.stop, moments.turn)
        return super().find(rows, scheme, moments)


@dataclass(frozen=True)
class _SoFar:
    """Satisfies `ReferenceWeights`: of the store what it has, of the source the rest."""

    source: CheckpointSource
    store: StoreWriter | None
    description: str = "quantised so far"

    @property
    def architecture(self) -> Mapping[str, object]:
        return self.source.architecture

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        weights = self.source.components["text"].spec.weights()
        return {each.name: each.shape for each in weights if each.role is not Role.COLUMNS}

    def rows(self, name: str, start: int, stop: int) -> Tensor:
        if self.store is not None and len(self.shapes[name]) == 2 and self.store.has(name):
            values = self.store.matrix(name).values(start, stop)
        else:
            values = self.source.rows(name, start, stop)
        spec = self.source.components["text"].spec
        if spec.embedding_columns and name == spec.embedding_name:
            values = values * self.source.rows(COLUMNS_NAME, 0, spec.hidden_size)
        return torch.from_numpy(np.array(values))

    def gather(self, name: str, wanted: Sequence[int]) -> Tensor:
        return torch.cat([self.rows(name, row, row + 1) for row in wanted])


@dataclass
class _Inputs:
    """Satisfies `LinearWatch`: keeps what enters, [tokens, in], once for those that are given the same."""

    kept: dict[str, list[Tensor]] = field(default_factory=dict)
    first_of: dict[str, str] = field(default_factory=dict)
    _last: tuple[Tensor, str] | None = None

    def enters(self, weight: str, inputs: Tensor) -> None:
        if self._last is None or self._last[0] is not inputs:
            self._last = (inputs, weight)
            self.kept.setdefault(weight, []).append(inputs.reshape(-1, inputs.shape[-1]))
        self.first_of[weight] = self._last[1]

    def leaves(self, weight: str, outputs: Tensor) -> None:
        """Nothing to keep."""

    def groups(self) -> Iterator[tuple[list[str], Tensor]]:
        for first, pieces in self.kept.items():
            names = [name for name, owner in self.first_of.items() if owner == first]
            yield names, torch.cat(pieces)


def _quantised(source: CheckpointSource, recipe: str, share: float, place: Path) -> QuantizedCheckpoint:
    plan = plan_for(source, recipe, (), context=128)
    job = job_for(source, plan, place)
    text = job.text_for(plan)
    if text is None:
        sys.exit(f"recipe {recipe} looks at no calibration text")
    methods = {
        name: _Matched(text.sha256) if isinstance(method, Calibrated) else method
        for name, method in methods_of(Coding(plan.schemes, plan.methods, plan.taken_over), text).items()
    }
    equalised = prepared(job, plan)
    with StoreWriter.begin(place / "store", equalised, plan.schemes, methods) as store:
        _write(store, plan, text, share)
        return store.finish()


def _write(store: StoreWriter, plan: Plan, text: CalibrationText, share: float) -> None:
    batches = text.batches(BATCH)
    before = StreamedReference(_SoFar(store.source, None))
    after = StreamedReference(_SoFar(store.source, store))
    with torch.inference_mode(), before.walk(*batches) as true, after.walk(*batches) as real:
        true.start()
        real.start()
        for its_true, its_real in zip(true.layers(), real.layers(), strict=True):
            wanted, given = _Inputs(), _Inputs()
            its_true.advance(wanted)
            its_real.see(given)
            for (names, x), (_, y) in zip(wanted.groups(), given.groups(), strict=True):
                _write_matched(store, names, (x, y), share)
            its_real.advance()
        head = after.head_name
        ends = [real.finish(n).last_hidden_state.flatten(0, 1) for n in range(len(batches))]
        y = torch.cat(ends) * _columns(store)
        _write_matched(store, [head], (y, y), 0.0)
    for name in plan.schemes:
        if not store.has(name):
            store.write(name, lambda done: None)


def _columns(store: StoreWriter) -> Tensor:
    """What the head's inputs are multiplied with, where its columns are divided by it."""
    spec = store.source.components["text"].spec
    if not spec.embedding_columns or not spec.tied_embedding:
        return torch.ones(1)
    return torch.from_numpy(np.array(store.source.rows(COLUMNS_NAME, 0, spec.hidden_size)))


def _write_matched(
    store: StoreWriter, names: Sequence[str], inputs: tuple[Tensor, Tensor], share: float
) -> None:
    x, y = inputs
    second = y.T @ y / len(y)
    turn = torch.eye(len(second))
    if share:
        damped = second + torch.eye(len(second)) * (DAMPING * second.diagonal().mean())
        moved = (x - y).T @ y / len(y)
        turn = turn + share * torch.linalg.solve(damped, moved.T).T
    moments = _Moments(second.numpy(), len(y), turn=turn.numpy())
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for name in names:
        store.write(name, lambda done: None, moments)
    torch.set_num_threads(threads)


if __name__ == "__main__":
    main()
