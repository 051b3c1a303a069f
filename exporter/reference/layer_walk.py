"""`LayerWalk`: batches of tokens taken through transformers' decoder layers, one layer in hand at a time.

What calibration and validation have in common: run these tokens layer by layer, and let me see, or
replace, what enters and leaves each linear of the layer in hand. transformers does all of the computing:
    (1) its text model runs with stand-ins for layers, which note what each layer is called with: hidden
        states, masks, rotations, per-layer inputs
    (2) each layer runs over every batch, as it was to be called, and its results wait for the next one
    (3) the text model runs once more with stand-ins, the last of which returns what (2) came to
Memory is one layer's weights (one module's, for READ_AGAIN batches), the activations of one batch in it and
what waits between layers, which is spilled to disk past a bound; for Gemma 4 also the keys and values that
its later layers share. Not about the head (`streamed`) or about what is made of activations.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import ExitStack, contextmanager
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from exporter.reference.lending import Lender
from exporter.reference.merged_prompt import MergedPrompt
from exporter.reference.spill import Spill

READ_AGAIN = 2  # batches at most that read a layer once each: the whole of it takes more than it saves

Batch = Tensor | MergedPrompt
"""Token ids, [batch, tokens] int64, or one prompt with images or sounds in it."""

Take = Callable[[Tensor, tuple[Any, ...], dict[str, Any]], Tensor]


class LinearWatch(Protocol):
    """Sees what passes the linears of the layer in hand. weight: canonical name of the linear's weight."""

    def enters(self, weight: str, inputs: Tensor) -> Tensor | None:
        """inputs: [batch, tokens, in]. Returns what is to take their place, None to leave them."""
        ...

    def leaves(self, weight: str, outputs: Tensor) -> Tensor | None:
        """outputs: [batch, tokens, out]. Returns what is to take their place, None to leave them."""
        ...


@dataclass(frozen=True)
class _LayerCall:
    """What a layer is called with beside hidden states. per_layer: whether its own input waits too."""

    named: Mapping[str, Any]
    per_layer: bool


class LayerWalk:
    """text_model: transformers', its weights lent by `lender`. spill: closed by whoever made it."""

    def __init__(self, text_model: Any, lender: Lender, batches: Sequence[Batch], spill: Spill) -> None:
        self._text_model, self._lender, self._spill = text_model, lender, spill
        self._batches = list(batches)
        self._calls: list[list[_LayerCall]] = []
        self._from = [0] * len(self._batches)  # the first layer a batch passes by itself
        self._trunk = list(range(len(self._batches)))  # the batch whose own inputs it is given
        self._layers: tuple[nn.Module, ...] = tuple(text_model.layers)

    def __len__(self) -> int:
        """Layers."""
        return len(self._layers)

    def start(self, watch: LinearWatch | None = None) -> None:
        """(1): embeddings, and whatever linears stand before the first layer."""
        seen: dict[Hashable, Mapping[str, Any]] = {}
        with self._watched(self._text_model, "model", watch):
            for number, batch in enumerate(self._batches):
                self._calls.append([])
                take = self._note(number, seen, _alike(batch))
                with _layers_as(self._text_model, [take] * len(self._layers)):
                    self._text_model(**_called(batch, self._text_model), use_cache=False)

    def layers(self) -> Iterator[LayerInHand]:
        """(2): every layer in turn; the caller advances each one before it asks for the next."""
        for index in range(len(self._layers)):
            layer = LayerInHand(self, index)
            yield layer
            if not layer.advanced:
                raise ValueError(f"layer {index} was not advanced")

    def hidden(self, number: int) -> Tensor:
        """What enters the next layer, for a batch: [batch, tokens, hidden]."""
        return self._spill.get(("hidden", number))

    def finish(self, number: int) -> Any:
        """(3): the text model's result for a batch, its final norm included."""

        def last(hidden: Tensor, args: tuple[Any, ...], named: dict[str, Any]) -> Tensor:
            return self.hidden(number)

        stand_ins = [_passed_on] * (len(self._layers) - 1) + [last]
        with _layers_as(self._text_model, stand_ins):
            return self._text_model(**_called(self._batches[number], self._text_model), use_cache=False)

    def run_layer(self, index: int, watch: LinearWatch | None, keep: bool) -> None:
        """All batches through layer `index`; keep: their results take the place of what went in."""
        with self._lender.keeping(len(self._batches) > READ_AGAIN):
            for number in [each for each, first in enumerate(self._from) if first <= index]:
                found = self._pass(number, index, watch)
                if keep:
                    self._spill.put(("hidden", number), found)
        if keep:
            for number in range(len(self._batches)):
                self._spill.drop(("own", number, index))

    def branch(self, index: int, trunk: int, watches: Iterable[LinearWatch]) -> tuple[int, ...]:
        """A batch once more through layer `index` for each watch; what comes of it goes on from there as a
        batch of its own. Their numbers."""
        made = []
        with self._lender.keeping(True):
            for watch in watches:
                number = len(self._batches)
                self._batches.append(self._batches[trunk])
                self._calls.append(_calls_apart(self._calls[trunk]))
                self._from.append(index + 1)
                self._trunk.append(self._trunk[trunk])
                self._spill.put(("hidden", number), self.hidden(trunk))
                self._spill.put(("hidden", number), self._pass(number, index, watch))
                made.append(number)
        return tuple(made)

    def _pass(self, number: int, index: int, watch: LinearWatch | None) -> Tensor:
        layer, call = self._layers[index], self._calls[number][index]
        own = (self._spill.get(("own", self._trunk[number], index)),) if call.per_layer else ()
        with self._watched(layer, f"model.layers.{index}", watch):
            found: Tensor = layer(self.hidden(number), *own, **call.named)
        return found

    def _note(self, number: int, seen: dict[Hashable, Mapping[str, Any]], alike: Hashable) -> Take:
        def take(hidden: Tensor, args: tuple[Any, ...], named: dict[str, Any]) -> Tensor:
            index = len(self._calls[number])
            if index == 0:
                self._spill.put(("hidden", number), hidden)
            own = next((each for each in args if each is not None), None)
            if own is not None:
                self._spill.put(("own", number, index), own)
            # Without padding, masks and rotations depend on the shape and on where rows are: batches of
            # the same share the first one's.
            first = seen.setdefault((index, alike), named)
            named = {
                key: first[key] if isinstance(value, Tensor | tuple) else value
                for key, value in named.items()
            }
            self._calls[number].append(_LayerCall(named, own is not None))
            return hidden

        return take

    @contextmanager
    def _watched(self, inside: nn.Module, prefix: str, watch: LinearWatch | None) -> Iterator[None]:
        with ExitStack() as hooks:
            if watch is not None:
                for name, module in inside.named_modules(prefix=prefix):
                    if isinstance(module, nn.Linear):
                        _watch(module, f"{name}.weight", watch, hooks)
            yield


@dataclass
class LayerInHand:
    """One decoder layer, before its batches went on. index: from 0."""

    walk: LayerWalk
    index: int
    advanced: bool = False

    def see(self, watch: LinearWatch) -> None:
        """All batches through the layer; what comes out of it is forgotten."""
        self.walk.run_layer(self.index, watch, keep=False)

    def branch(self, trunk: int, watches: Iterable[LinearWatch]) -> tuple[int, ...]:
        """Batch `trunk` through the layer for each watch, as batches of their own from here on; before the
        layer is advanced. Their numbers."""
        return self.walk.branch(self.index, trunk, watches)

    def advance(self, watch: LinearWatch | None = None) -> None:
        """All batches through the layer, on to the next; those that branched in it are there already."""
        self.walk.run_layer(self.index, watch, keep=True)
        self.advanced = True


def _calls_apart(calls: Sequence[_LayerCall]) -> list[_LayerCall]:
    """The same calls, with a copy of what layers write into: keys and values that later ones share."""
    copies: dict[int, Any] = {}

    def apart(value: Any) -> Any:
        return copies.setdefault(id(value), copy(value)) if isinstance(value, MutableMapping) else value

    return [replace(call, named={key: apart(value) for key, value in call.named.items()}) for call in calls]


class _StandIn(nn.Module):
    def __init__(self, take: Take) -> None:
        super().__init__()
        self.take = take

    def forward(self, hidden: Tensor, *args: Any, **named: Any) -> Tensor:
        return self.take(hidden, args, named)


def _passed_on(hidden: Tensor, args: tuple[Any, ...], named: dict[str, Any]) -> Tensor:
    return hidden


@contextmanager
def _layers_as(text_model: Any, takes: Sequence[Take]) -> Iterator[None]:
    layers = text_model.layers
    text_model.layers = nn.ModuleList([_StandIn(take) for take in takes])
    try:
        yield
    finally:
        text_model.layers = layers


def _watch(module: nn.Linear, weight: str, watch: LinearWatch, hooks: ExitStack) -> None:
    def enters(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        changed = watch.enters(weight, inputs[0])
        return None if changed is None else (changed,)

    def leaves(_: nn.Module, inputs: tuple[Tensor, ...], outputs: Tensor) -> Tensor | None:
        return watch.leaves(weight, outputs)

    hooks.callback(module.register_forward_pre_hook(enters).remove)
    hooks.callback(module.register_forward_hook(leaves).remove)


def token_batches(*sequences: Any) -> tuple[Batch, ...]:
    """Integer arrays [batch, tokens] as the text model takes them; prompts with rows as they are."""
    return tuple(
        each if isinstance(each, MergedPrompt) else torch.as_tensor(each).long() for each in sequences
    )


def _called(batch: Batch, text_model: Any) -> dict[str, Any]:
    return batch.called(text_model) if isinstance(batch, MergedPrompt) else {"input_ids": batch}


def _alike(batch: Batch) -> Hashable:
    return batch.alike if isinstance(batch, MergedPrompt) else tuple(batch.shape)
