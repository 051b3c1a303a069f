"""The float twin of a tower: its models with every multiplied weight in fp32, as files of their own.

Made from the bundle's own bytes, as `float_twin` is; tables that are only looked up stay where they are.
Run whole, for a tower's fp32 weights are mapped from disk: at most 2.3 GB (31B). Not about a text model.
"""

from __future__ import annotations

from pathlib import Path

from exporter.errors import LoweringError
from exporter.lowering.litert.declarations import text
from exporter.lowering.litert.reading import open_models
from exporter.lowering.litert.twin.float_graph import float_graph
from exporter.lowering.litert.twin.stage_file import write_stage
from exporter.lowering.litert.twin.stages import cut
from runtimes.litert.image_models import VISION_ADAPTER, VISION_ENCODER
from runtimes.litert.sound_models import AUDIO_ADAPTER, AUDIO_ENCODER

# Encoder and adapter, by what a release calls the tower.
MODELS = {"vision": (VISION_ENCODER, VISION_ADAPTER), "audio": (AUDIO_ENCODER, AUDIO_ADAPTER)}
WHOLE = 1 << 62  # bytes of a stage: nothing is cut


def write_tower_twin(bundle: Path, component: str, out: Path) -> None:
    """A file for the encoder and one for the adapter in the directory `out`, named as the driver looks for
    them. component: "vision" or "audio". Raises LoweringError for a bundle without that tower, or one that
    is damaged."""
    models, wanted = open_models(bundle), MODELS[component]
    if wanted[0] not in models:
        raise LoweringError(bundle, f"holds no {component} tower", "export again")
    for name in wanted:
        if name in models:
            graph = float_graph(models[name], WHOLE)
            keys = {text(signature.signatureKey) for signature in models[name].model.signatureDefs}
            (stage,) = cut(graph, keys, WHOLE)
            write_stage(graph, stage, out / f"{name}.tflite")
