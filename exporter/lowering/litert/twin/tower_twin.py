"""The float twin of a tower: its models with every multiplied weight in fp32, as files of their own.

Made from the bundle's own bytes, as `float_twin` is; tables that are only looked up stay where they are.
Run whole, for a tower's fp32 weights are mapped from disk: at most 2.3 GB (31B). Not about a text model.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from exporter.errors import LoweringError
from exporter.lowering.litert.reading import open_models
from exporter.lowering.litert.twin.float_graph import FloatGraph, FloatSignature, float_graph
from exporter.lowering.litert.twin.stage_file import write_stage
from exporter.lowering.litert.twin.stages import Stage, StageShare
from runtimes.litert.image_models import VISION_ADAPTER, VISION_ENCODER
from runtimes.litert.sound_models import AUDIO_ADAPTER, AUDIO_ENCODER
from runtimes.manifest import TowerName

# Encoder and adapter, by what a release calls the tower.
MODELS: Mapping[TowerName, tuple[str, str]] = {
    "vision": (VISION_ENCODER, VISION_ADAPTER),
    "audio": (AUDIO_ENCODER, AUDIO_ADAPTER),
}
WHOLE = 1 << 62  # bytes of a weight: none is cut


def write_tower_twin(bundle: Path, component: TowerName, out: Path) -> None:
    """A file for the encoder and one for the adapter in the directory `out`, named as the driver looks for
    them. component: "vision" or "audio". Raises LoweringError for a bundle without that tower, or one that
    is damaged."""
    models, wanted = open_models(bundle), MODELS[component]
    if wanted[0] not in models:
        raise LoweringError(bundle, f"holds no {component} tower", "export again")
    for name in wanted:
        if name in models:
            graph = float_graph(models[name], WHOLE)
            write_stage(graph, _whole(graph), out / f"{name}.tflite")


def _whole(graph: FloatGraph) -> Stage:
    """All of it: what has one name among inputs and outputs is no cache in a tower."""
    parts = {each.key: _all_of(each) for each in graph.signatures}
    return Stage(parts, sum(piece.nbytes for piece in graph.pieces.values()))


def _all_of(signature: FloatSignature) -> StageShare:
    inputs, outputs = (
        {name: tensor for tensor, name in named.items()} for named in (signature.inputs, signature.outputs)
    )
    return StageShare(signature, tuple(signature.operators), inputs, outputs, calls=1)
