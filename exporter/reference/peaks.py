"""`Peaks`: the largest magnitude of what enters and leaves each norm and linear of transformers' model.

Half precision ends at 65504, and a phone's GPU computes in it: how near a text comes is measured here, on
transformers' own modules, while the streamed reference runs. Not about which of these values a graph keeps
smaller (`exporter.validation.range_check`), nor the head, whose logits are kept whole.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from torch import Tensor, nn

from exporter.reference.peak import Peak, Side

_LAYER = "layers"
_Hook = Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]


class Peaks:
    """Of one run, or of several."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, Side], Peak] = {}

    @property
    def found(self) -> tuple[Peak, ...]:
        """One for each module and side, in the order they were first seen."""
        return tuple(self._found.values())

    @contextmanager
    def watching(self, text_model: nn.Module) -> Iterator[None]:
        """See what passes the modules while this is open."""
        with ExitStack() as hooks:
            for name, module in text_model.named_modules():
                if isinstance(module, nn.Linear) or type(module).__name__.endswith("RMSNorm"):
                    hooks.callback(module.register_forward_hook(self._hook(name)).remove)
            yield

    def _hook(self, name: str) -> _Hook:
        place, layer = name, None
        if name.startswith(f"{_LAYER}."):
            _, index, place = name.split(".", 2)
            layer = int(index)

        def passed(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            self._see(place, "in", layer, inputs[0])
            self._see(place, "out", layer, output)

        return passed

    def _see(self, module: str, side: Side, layer: int | None, values: Tensor) -> None:
        largest = float(values.abs().max())
        known = self._found.get((module, side))
        if known is None or largest > known.largest or math.isnan(largest):
            self._found[module, side] = Peak(module, side, layer, largest)
