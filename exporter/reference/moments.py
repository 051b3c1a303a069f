"""Second moments of what enters each linear of transformers' model, on calibration text.

A layer at a time, over every batch of it: E x[i] x[j], which says how much an error in one weight costs and
which other weights can make up for it, or E x[i]² alone, which says the first. What enters at the token
that begins every sequence is kept beside that where much hangs on it: it is one vector however the text
goes on. Linears that are given the same tensor share one result. Not about what is made of it
(`exporter.quantization`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from exporter.errors import ReferenceModelError

# Every later token attends to the key and value of the first, many to it above all; and down gives so
# little there that the norm behind it makes much of an error (docs/adr/0037). q is given what k and v are.
OPENED = (
    "self_attn.q_proj.weight",
    "self_attn.k_proj.weight",
    "self_attn.v_proj.weight",
    "mlp.down_proj.weight",
)

COLUMNS = 512  # of a moment at once: fewer and matrix products lose what half the work gains

SecondMoment = NDArray[np.float32]  # [in, in], symmetric; or its diagonal alone, [in]
FirstInputs = NDArray[np.float32]  # [in]


@dataclass(frozen=True)
class SeenInputs:
    """names: linears that are given the same x. second: mean of x[i] x[j]. tokens: it is a mean of.
    opening: x at the token that begins every sequence, for those of OPENED."""

    names: frozenset[str]
    second: SecondMoment
    tokens: int
    opening: FirstInputs | None


@dataclass
class MomentsWatch:
    """Satisfies `LinearWatch`. For the layer in hand; another one for the next.

    products: whether every two inputs are multiplied. Otherwise only the diagonal is kept: of a down
    projection of 14,336 inputs 57 KB, not 822 MB.
    """

    products: bool = True
    _sums: dict[str, Tensor] = field(default_factory=dict)
    _tokens: dict[str, int] = field(default_factory=dict)
    _opening: dict[str, Tensor] = field(default_factory=dict)
    _first_of: dict[str, str] = field(default_factory=dict)
    _last: tuple[Tensor, str] | None = None

    def enters(self, weight: str, inputs: Tensor) -> None:
        """inputs: [batch, tokens, in], of sequences that all begin with the same token."""
        if self._last is not None and self._last[0] is inputs:
            self._first_of[weight] = self._last[1]
            return
        self._last = (inputs, weight)
        self._first_of[weight] = weight
        if weight.endswith(OPENED):
            self._opening.setdefault(weight, inputs[0, 0].clone())
        self.add(weight, inputs)

    def add(self, name: str, inputs: Tensor) -> None:
        """inputs: [..., in], added to what is known of `name`."""
        flat = inputs.reshape(-1, inputs.shape[-1])
        self._first_of.setdefault(name, name)
        if name not in self._sums:
            shape = flat.shape[1:] * (2 if self.products else 1)
            self._sums[name] = torch.zeros(shape)
            self._tokens[name] = 0
        if self.products:
            _add_products(self._sums[name], flat)
        else:
            self._sums[name] += flat.square().sum(dim=0)
        self._tokens[name] += len(flat)

    def leaves(self, weight: str, outputs: Tensor) -> None:
        """Nothing to measure."""

    def groups(self) -> tuple[SeenInputs, ...]:
        """Of every tensor that was given to linears.

        Raises ReferenceModelError for one that is not finite, or too large to square.
        """
        found = []
        for first, total in self._sums.items():
            names = frozenset(name for name, owner in self._first_of.items() if owner == first)
            tokens, opening = self._tokens[first], self._opening.get(first)
            require_finite_inputs(first, total)
            if self.products:
                _mirror(total)
            second = (total / tokens).numpy()
            found.append(SeenInputs(names, second, tokens, None if opening is None else opening.numpy()))
        return tuple(found)


def _add_products(total: Tensor, inputs: Tensor) -> None:
    """total: [in, in], to whose upper half the products of inputs [tokens, in] are added."""
    for start, stop in _column_blocks(total):
        total[:stop, start:stop].addmm_(inputs[:, :stop].T, inputs[:, start:stop])


def _mirror(total: Tensor) -> None:
    """Make a whole symmetric matrix of the upper half, in place."""
    for start, stop in _column_blocks(total):
        total[stop:, start:stop] = total[start:stop, stop:].T


def _column_blocks(total: Tensor) -> Iterator[tuple[int, int]]:
    width = total.shape[1]
    return ((start, min(start + COLUMNS, width)) for start in range(0, width, COLUMNS))


def require_finite_inputs(weight: str, measured: Tensor) -> None:
    """measured: anything made of what enters the linear of this weight. Raises ReferenceModelError."""
    if not bool(torch.isfinite(measured).all()):
        layer = weight.removeprefix("model.layers.").partition(".")[0]
        where = f" of layer {layer}" if layer.isdecimal() else ""
        raise ReferenceModelError(
            f"{weight}{where}",
            "what enters it on calibration text is not finite, or too large for float32",
            "look for weights of the layers before it that are out of range; a broken checkpoint is not "
            "quantised",
        )
