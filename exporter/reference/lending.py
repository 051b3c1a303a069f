"""`Lender`: gives transformers' modules their weights for as long as they compute.

A module loads its tensors before its forward call and gives them up after it, so that one module's weights
are there at a time; an embedding gets only the rows its tokens name. While a layer is kept, its modules
keep theirs, so that several batches go through it for one reading.
Not about which modules run when (`layer_walk`) or where weights come from (`weights`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from exporter.reference.weights import ReferenceWeights

LOAD_BYTES = 32 << 20  # of float32 rows read at once


class Lender:
    """weights: by canonical name, read anew whenever a module loads."""

    def __init__(self, weights: ReferenceWeights) -> None:
        self.weights = weights
        self._keeping = False
        self._kept: dict[tuple[nn.Module, str], Tensor] = {}  # to what a module had before

    def lend(self, module: nn.Module, local: str, name: str) -> None:
        """Give `module` its tensor `local`, called `name` in the checkpoint, for each forward call."""
        empty = getattr(module, local)

        def load(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
            if isinstance(module, nn.Embedding):
                wanted, compact = torch.unique(inputs[0], return_inverse=True)
                module.weight = as_parameter(self.weights.gather(name, wanted.tolist()))
                return (compact,)
            if (module, local) not in self._kept:
                found = _whole(self.weights, name, tuple(empty.shape))
                setattr(module, local, as_parameter(found) if local in module._parameters else found)
            return None

        def unload(*_: object) -> None:
            if self._keeping and not isinstance(module, nn.Embedding):
                self._kept[module, local] = empty
            else:
                setattr(module, local, empty)

        module.register_forward_pre_hook(load)
        module.register_forward_hook(unload)

    @contextmanager
    def keeping(self, wanted: bool) -> Iterator[None]:
        """Modules that compute meanwhile keep their tensors until the end, if that is wanted."""
        self._keeping = wanted
        try:
            yield
        finally:
            self._keeping = False
            for (module, local), empty in self._kept.items():
                setattr(module, local, empty)
            self._kept.clear()


def as_parameter(values: Tensor) -> nn.Parameter:
    """A parameter nobody trains."""
    return nn.Parameter(values, requires_grad=False)


def _whole(weights: ReferenceWeights, name: str, shape: tuple[int, ...]) -> Tensor:
    """A whole tensor, read a chunk at a time so that a reader's own buffers stay small."""
    if not shape:  # a bound of Gemma 4's towers
        return weights.rows(name, 0, 1).reshape(())
    found = torch.empty(shape)
    step = max(1, LOAD_BYTES // (found[:1].numel() * 4))
    for start in range(0, shape[0], step):
        stop = min(shape[0], start + step)
        found[start:stop] = weights.rows(name, start, stop)
    return found
