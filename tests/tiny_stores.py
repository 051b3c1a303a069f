"""Tiny stores of one scheme and method: begun, written as far as a test likes, and read as bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from exporter.checkpoints.interface import CheckpointSource
from exporter.quantization.methods.interface import Method
from exporter.quantization.methods.nearest import Nearest
from exporter.quantization.store.checkpoint import QuantizedCheckpoint
from exporter.quantization.store.writer import StoreWriter
from exporter.schemes import IntegerScheme, Scheme
from tests.tiny import FULL, RandomSource, tiny_gemma3

UP, DOWN = "model.layers.0.mlp.up_proj.weight", "model.layers.0.mlp.down_proj.weight"
EMBEDDING = "model.embed_tokens.weight"
NEAREST = Nearest()
ONE_LAYER = tiny_gemma3() | {
    "vocab_size": 510,
    "hidden_size": 128,
    "num_hidden_layers": 1,
    "layer_types": [FULL],
}


def tiny(seed: int = 0) -> RandomSource:
    """One layer whose inputs groups of 128 divide; the embedding's 510 rows fill no whole word."""
    return RandomSource(ONE_LAYER, seed)


def matrices(source: RandomSource) -> list[str]:
    """Names in the graph's order."""
    return [weight.name for weight in source.components["text"].weights if weight.is_matrix]


def everywhere(source: RandomSource, scheme: Scheme) -> dict[str, Scheme]:
    """One scheme for every matrix."""
    return dict.fromkeys(matrices(source), scheme)


def begun(
    directory: Path, source: CheckpointSource, schemes: Mapping[str, Scheme], method: Method = NEAREST
) -> AbstractContextManager[StoreWriter]:
    """A store of one method, to be entered."""
    integers = (name for name, scheme in schemes.items() if isinstance(scheme, IntegerScheme))
    methods = dict.fromkeys(integers, method)
    return StoreWriter.begin(directory, source, schemes, methods)


def untold(done: int) -> None:
    """Nobody asks how far a matrix is."""


def written_so_far(store: StoreWriter, count: int, order: Sequence[str] | None = None) -> list[str]:
    """Write the matrices that are missing of the first `count`; their names."""
    names = list(order or store.schemes)[:count]
    for name in names:
        if not store.has(name):
            store.write(name, untold)
    return names


def written(
    directory: Path,
    source: RandomSource,
    schemes: Mapping[str, Scheme],
    method: Method = NEAREST,
    order: Sequence[str] | None = None,
) -> QuantizedCheckpoint:
    """A finished store, or what is there of it finished."""
    with begun(directory, source, schemes, method) as store:
        written_so_far(store, len(schemes), order)
        return store.finish()


def files(directory: Path) -> dict[str, bytes]:
    """Every file of a store by name."""
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}
