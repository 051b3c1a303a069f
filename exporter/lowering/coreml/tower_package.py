"""`coreml/vision.mlpackage`: an image tower beside the decoder that takes its rows.

Not about the graph (`vision_conversion`) or the decoder's functions (`conversion`).
"""

from __future__ import annotations

from pathlib import Path

from exporter.lowering.coreml.binding import bind
from exporter.lowering.coreml.package import describe, write_package
from exporter.lowering.coreml.vision_conversion import convert_tower
from exporter.lowering.interface import LoweringOrder
from exporter.progress import Progress
from exporter.quantization.store.checkpoint import StoredVision
from runtimes.manifest import EncoderArtifact


def ordered_tower(order: LoweringOrder) -> StoredVision | None:
    """The tower to lower; None where no images are ordered, or there is nothing to see with."""
    return None if order.images is None else order.checkpoint.components.vision


def encoder_artifact(order: LoweringOrder, path: str, decoder: str) -> EncoderArtifact | None:
    """What a release says of the tower in the package `path`, whose rows the package `decoder` takes."""
    tower = ordered_tower(order)
    if tower is None or order.images is None:
        return None
    return EncoderArtifact(
        component="vision",
        format="coreml",
        path=path,
        decoder=decoder,
        soft_tokens=order.images.soft_tokens,
        width=tower.spec.text_hidden_size,
    )


def write_tower(
    tower: StoredVision, artifact: EncoderArtifact, order: LoweringOrder, out: Path, progress: Progress
) -> None:
    """Write the package of an artifact under `out`. Peak memory is the trace of one picture whose matrices
    and attention are not computed, and a few row chunks."""
    progress("convert the image tower to Core ML", 0, 1)
    program = convert_tower(tower.spec, tower.vectors, artifact.soft_tokens)
    progress("convert the image tower to Core ML", 1, 1)
    weights = bind(program, tower.matrices)
    describe(
        program.model,
        f"Gemma image tower ({tower.spec.model_type}): a picture to rows that take the place of tokens' "
        "embeddings. Made by gemma-export; checked on this file's bytes by a MIL evaluator, not on Apple "
        "hardware.",
        order.made_from,
        {"soft_tokens": str(artifact.soft_tokens)},
    )
    total = weights.nbytes
    write_package(
        out / artifact.path,
        program.model,
        weights,
        lambda done: progress("write the image tower's weight.bin", done, total),
    )
