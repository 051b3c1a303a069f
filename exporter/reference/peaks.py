"""`Peaks`: the largest magnitude of what enters and leaves each norm and linear of transformers' model,
and of its attention scores.

Half precision ends at 65504, and a phone's GPU computes in it: how near a text comes is measured here, on
transformers' own modules, while the streamed reference runs. Scores are queries times keys times their
factor, before soft cap, mask and softmax, of masked pairs too: a graph computes those as well. Not about
which of these values a graph keeps smaller (`exporter.validation.range_check`), nor the head, whose logits
are kept whole.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

from exporter.reference.peak import SCORES, Peak, Side

_LAYER = "layers"
_EAGER = "eager_attention_forward"  # each of transformers' modelling files has its own
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
            modelling = sys.modules[type(text_model).__module__]
            if (attend := getattr(modelling, _EAGER, None)) is not None:
                hooks.callback(setattr, modelling, _EAGER, attend)
                setattr(modelling, _EAGER, self._seeing_scores(attend))
            yield

    def _seeing_scores(self, attend: Callable[..., Any]) -> Callable[..., Any]:
        def attended(
            module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **named: Any
        ) -> Any:
            # query: [batch, heads, tokens, head_dim]; key: [batch, kv_heads, tokens, head_dim]
            groups, scale = query.shape[1] // key.shape[1], named["scaling"]
            for head in range(query.shape[1]):
                scores = (query[:, head] * scale) @ key[:, head // groups].transpose(1, 2)
                self._see(SCORES, "out", module.layer_idx, scores)
            return attend(module, query, key, value, mask, **named)

        return attended

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
        least, most = values.aminmax()  # a NaN is both
        largest = max(-float(least), float(most))
        known = self._found.get((module, side))
        if known is None or largest > known.largest or math.isnan(largest):
            self._found[module, side] = Peak(module, side, layer, largest)
