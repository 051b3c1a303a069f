"""`WeightError`: how far each stored matrix is from the one its codes were found for.

Relative error in the Frobenius norm, |stored - original| / |original|, of weights as they were quantised:
columns that a recipe equalises are compared equalised. Both are read row range by row range, so memory is
one range of each. An error of weights is none of outputs: methods that make up for rounding with other
codes have more of it than rounding to the nearest, and lose less. Not about whether an artifact holds them
(`stored_weights`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from exporter.checkpoints.interface import CheckpointSource
from exporter.progress import Progress
from exporter.quantization.store.checkpoint import Matrix, QuantizedCheckpoint, row_chunks
from runtimes.manifest import ComponentName, TowerName

_OF_LAYER = re.compile(r"model\.layers\.(\d+)\.(?:self_attn\.|mlp\.)?(.+)\.weight")
_OF_TOWER = re.compile(
    r"(?:(?:vision|audio)_tower\.)?(?:(?:encoder\.)?layers\.\d+\.)?(?:self_attn\.|mlp\.)?(.+?)(?:\.weight)?"
)

TAKES: Mapping[TowerName, str] = {"vision": "images", "audio": "sounds"}


@dataclass(frozen=True)
class WeightError:
    """Of one matrix. layer: the text model's, None outside of them. part: its name without the layer's
    ("q_proj", "embed_tokens"; "images: fc1" of an image tower, "sounds: output_proj" of an audio encoder).
    scheme: how it is stored. relative: 0 for one that is stored exactly."""

    layer: int | None
    part: str
    scheme: str
    relative: float


def weight_errors(
    source: CheckpointSource, checkpoint: QuantizedCheckpoint, progress: Progress
) -> Iterator[WeightError]:
    """Of every matrix of every component, in the graphs' order. source: what the codes were found for.
    Reads both once."""
    places = {
        name: _place(name, component)
        for component, stored in checkpoint.components.items()
        for name in stored.matrices
    }
    matrices = checkpoint.matrices
    for done, (name, (layer, part)) in enumerate(places.items(), 1):
        matrix = matrices[name]
        yield WeightError(layer, part, matrix.scheme.name, _relative_error(source, matrix))
        progress("compare weights", done, len(places))


def _place(name: str, component: ComponentName) -> tuple[int | None, str]:
    if component != "text":
        found = _OF_TOWER.fullmatch(name)
        return None, f"{TAKES[component]}: {name if found is None else found[1]}"
    if (found := _OF_LAYER.fullmatch(name)) is not None:
        return int(found[1]), found[2]
    return None, name.removeprefix("model.").removesuffix(".weight")


def _relative_error(source: CheckpointSource, matrix: Matrix) -> float:
    off = whole = 0.0
    for start, stop in row_chunks(matrix):
        original = source.rows(matrix.name, start, stop)
        whole += _squared(original)
        off += _squared(matrix.values(start, stop) - original)
    return float(np.sqrt(off / whole)) if whole else float(np.sqrt(off))


def _squared(values: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> float:
    """Sum of squares: float32 within a row, float64 over rows."""
    return float(np.einsum("ij,ij->i", values, values).sum(dtype=np.float64))
