"""`measure_losses`: what each matrix costs when it alone is stored in a scheme, in the model's own output.

KL of the final logits from the original's, on a little calibration text, the same for every matrix:
    (1) the text goes through the original; in a matrix's layer it branches, its outputs being those of
        the rounded weight, and goes on from there through original weights                 `layer_walk`
    (2) tables and what stands before the layers have a pass each, with the rounded matrix in its place
    (3) final hidden states become logits a block of the head's rows at a time              `divergence`
    (4) one scheme of few bits is measured; others are put down for its loss times the share of their
        squared errors, as KL grows with the square of a small error
Memory is one layer's weights, one matrix and the activations of a short text for each branch; what is
measured is kept, so that a killed run goes on. Not about choosing (`exporter.planning.mixture`).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from exporter.checkpoints.interface import CheckpointSource
from exporter.models.text.spec import Role
from exporter.planning.mixed_recipe import Losses, base
from exporter.progress import Progress
from exporter.quantization.rounding import OneRounded, RoundedLinear, Rounding
from exporter.reference.calibration_text import CalibrationText
from exporter.reference.divergence import Divergences
from exporter.reference.streamed import StreamedReference
from exporter.reference.weights import OriginalWeights, ReferenceWeights
from exporter.schemes import INT8_CHANNEL, Scheme
from runtimes.strict_json import read_json_object

VERSION = 1  # another one wherever the same matrix would measure otherwise
SEQUENCES, TOKENS = 8, 32
EVERY = 4  # positions between those whose logits are compared
BRANCHES = 16  # that wait together: a walk's worth, after which what was measured is written down
HEAD_ROWS = 16384

Subject = tuple[str, Scheme]
_Tokens = NDArray[np.int32]


@dataclass(frozen=True)
class SensitivityOrder:
    """source: the original. rounding: how its matrices are rounded. schemes: those each matrix may get, of
    few bits to many. text: what passes through. kept: a directory for what was measured."""

    source: CheckpointSource
    rounding: Rounding
    schemes: Mapping[str, Sequence[Scheme]]
    text: CalibrationText
    kept: Path


def measure_losses(order: SensitivityOrder, progress: Progress) -> Losses:
    """KL in nats of every matrix in each of its schemes. Raises as the reference and the source do."""
    measured = _Measured.of(order)
    parts = _parts(order)
    total = sum(len(part) for part in parts)
    with torch.inference_mode():
        for part in parts:
            wanted = [subject for subject in part if subject not in measured]
            if wanted:
                measured.add(dict(zip(wanted, _losses(order, wanted), strict=True)))
            progress("measure sensitivities", measured.count, total)
    return {
        name: {scheme.name: _loss(order, measured, name, scheme) for scheme in schemes}
        for name, schemes in order.schemes.items()
    }


def short_text(text: CalibrationText) -> _Tokens:
    """A few sequences of as many domains, [sequences, tokens]."""
    turn = text.sequences[: len(text.names)]
    chosen = np.unique(np.linspace(0, len(turn) - 1, SEQUENCES).astype(int))
    return turn[chosen, :TOKENS]


def _parts(order: SensitivityOrder) -> list[list[Subject]]:
    """What is measured together: tables one by one, linears of layers by BRANCHES in their order."""
    roles = {
        weight.name: weight.role for each in order.source.components.values() for weight in each.weights
    }
    alone: list[list[Subject]] = []
    linears: list[Subject] = []
    for name, schemes in order.schemes.items():
        few = _measured_scheme(schemes)
        if roles[name] is Role.LINEAR and name.startswith("model.layers."):
            linears.append((name, few))
        else:
            own = dict.fromkeys((few, INT8_CHANNEL) if INT8_CHANNEL in schemes else (few,))
            alone += [[(name, scheme)] for scheme in own]
    return alone + [linears[at : at + BRANCHES] for at in range(0, len(linears), BRANCHES)]


def _measured_scheme(schemes: Sequence[Scheme]) -> Scheme:
    return base(schemes) or schemes[0]


def _loss(order: SensitivityOrder, measured: _Measured, name: str, scheme: Scheme) -> float:
    """Measured, or (4)."""
    if (name, scheme) in measured:
        return measured[name, scheme]
    few = _measured_scheme(order.schemes[name])
    error = order.rounding.error(name, few)
    share = order.rounding.error(name, scheme) / error if error > 0 else 0.0
    return measured[name, few] * share


def _losses(order: SensitivityOrder, subjects: Sequence[Subject]) -> list[float]:
    """Of several linears of layers, or of one other matrix."""
    original, tokens = OriginalWeights(order.source), short_text(order.text)
    name, scheme = subjects[0]
    head: ReferenceWeights = original
    if name.startswith("model.layers."):
        plain, *rounded = _branches(order, subjects, tokens)
    else:
        head = OneRounded(original, order.rounding, name, scheme)
        plain, rounded = _final(original, tokens), [_final(head, tokens)]
    spec = order.source.components["text"].spec
    found = Divergences(len(rounded), len(plain))
    for start in range(0, spec.vocab_size, HEAD_ROWS):
        stop = min(spec.vocab_size, start + HEAD_ROWS)
        rows = original.rows(spec.head_name, start, stop)
        own = rows if head is original else head.rows(spec.head_name, start, stop)
        logits = (_capped(hidden @ own.T, spec.final_softcap) for hidden in rounded)
        found.take(_capped(plain @ rows.T, spec.final_softcap), logits)
    return found.means()


def _branches(order: SensitivityOrder, subjects: Sequence[Subject], tokens: _Tokens) -> list[Tensor]:
    """(1): final hidden states [positions, hidden] of the original, and with each linear rounded."""
    reference = StreamedReference(OriginalWeights(order.source))
    numbers: list[int] = [0]
    with reference.walk(tokens) as walk:
        walk.start()
        for layer in walk.layers():
            inside = [each for each in subjects if each[0].startswith(f"model.layers.{layer.index}.")]
            numbers += layer.branch(0, (RoundedLinear(order.rounding, *each) for each in inside))
            layer.advance()
        return [_compared(walk.finish(number).last_hidden_state) for number in numbers]


def _final(weights: ReferenceWeights, tokens: _Tokens) -> Tensor:
    """(2): final hidden states of the text with these weights."""
    with StreamedReference(weights).walk(tokens) as walk:
        walk.start()
        for layer in walk.layers():
            layer.advance()
        return _compared(walk.finish(0).last_hidden_state)


def _compared(hidden: Tensor) -> Tensor:
    """[sequences, tokens, hidden] to [positions, hidden]: those that are compared."""
    return hidden[:, EVERY - 1 :: EVERY].reshape(-1, hidden.shape[-1]).clone()


def _capped(logits: Tensor, cap: float | None) -> Tensor:
    return logits if cap is None else cap * torch.tanh(logits / cap)


class _Measured:
    """What was measured, and the file it is kept in."""

    def __init__(self, path: Path, found: dict[str, float]) -> None:
        self._path, self._found = path, found

    @staticmethod
    def of(order: SensitivityOrder) -> _Measured:
        """With what an earlier run of the same order left."""
        path = order.kept / f"sensitivities-{_digest(order)}.json"
        return _Measured(path, dict(read_json_object(path)) if path.is_file() else {})

    @property
    def count(self) -> int:
        return len(self._found)

    def __contains__(self, subject: Subject) -> bool:
        return _key(subject) in self._found

    def __getitem__(self, subject: Subject) -> float:
        return self._found[_key(subject)]

    def add(self, found: Mapping[Subject, float]) -> None:
        self._found |= {_key(subject): loss for subject, loss in found.items()}
        written = self._path.with_suffix(".new")
        written.write_text(json.dumps(self._found, indent=0), encoding="utf-8")
        os.replace(written, self._path)


def _key(subject: Subject) -> str:
    return f"{subject[0]} {subject[1].name}"


def _digest(order: SensitivityOrder) -> str:
    """Of what decides the figures."""
    decides: Iterable[str] = (
        f"{VERSION} {SEQUENCES} {TOKENS} {EVERY} {order.text.sha256}",
        *(f"{name} {digest}" for name, digest in sorted(order.rounding.source.digests().items())),
    )
    return hashlib.sha256("\n".join(decides).encode()).hexdigest()[:12]
