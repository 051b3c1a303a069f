"""A layer is told of when its last matrix is there, in whatever order they come."""

from __future__ import annotations

from exporter.quantization.layer_progress import LAYERS_DONE, LayerProgress

NAMES = [
    "model.embed_tokens.weight",
    "model.layers.0.a.weight",
    "model.layers.0.b.weight",
    "model.layers.10.a.weight",
]


def test_a_layer_counts_once_all_of_it_is_written() -> None:
    told: list[tuple[str, int, int]] = []
    layers = LayerProgress(NAMES, lambda *each: told.append(each))
    for name in ("model.layers.0.b.weight", "model.layers.10.a.weight", "model.embed_tokens.weight"):
        layers.written(name)
    assert told == [(LAYERS_DONE, 1, 2)]
    layers.written("model.layers.0.a.weight")
    layers.written("model.layers.0.a.weight")
    assert told == [(LAYERS_DONE, 1, 2), (LAYERS_DONE, 2, 2)]
