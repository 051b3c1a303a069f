"""Comparing the tensors a checkpoint has with the weights its spec demands: no more, no less.

Not about reading values (`tensor_values`) or names as a format spells them (the sources).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from exporter.checkpoints.interface import SourceTensor
from exporter.errors import CheckpointError
from exporter.models.audio.spec import AudioSpec
from exporter.models.text.spec import ModelSpec
from exporter.models.vision.spec import VisionSpec


def require_exactly(
    spec: ModelSpec | VisionSpec | AudioSpec,
    tensors: Mapping[str, SourceTensor],
    readable: Iterable[str],
    where: object,
) -> dict[str, SourceTensor]:
    """The tensors in the spec's order, every one there with its shape and a readable dtype.

    tensors: by canonical name. readable: dtypes the source can turn into float32.
    Raises CheckpointError naming the first that is missing, unexpected, or of another shape or dtype.
    """
    wanted = {weight.name: weight for weight in spec.weights()}
    if missing := [name for name in wanted if name not in tensors]:
        raise CheckpointError(
            where,
            f"{_listed('tensor', missing)} missing",
            "the download is incomplete, or config.json is another model's; fetch it again",
        )
    if unexpected := [name for name in tensors if name not in wanted]:
        raise CheckpointError(
            where,
            f"{_listed('tensor', unexpected)} not part of a {spec.model_type} of this configuration",
            "give a checkpoint of the plain model, with its own config.json",
        )
    allowed = frozenset(readable)
    for name, weight in wanted.items():
        tensor = tensors[name]
        if tensor.shape != weight.shape:
            raise CheckpointError(
                where,
                f"tensor {name} has shape {list(tensor.shape)}, config.json says {list(weight.shape)}",
                "weights and configuration are of different models; fetch both again",
            )
        if tensor.dtype not in allowed:
            raise CheckpointError(
                where,
                f"tensor {name} is stored as {tensor.dtype}, readable are {', '.join(sorted(allowed))}",
                "give the checkpoint in one of these types",
            )
    return {name: tensors[name] for name in wanted}


def _listed(noun: str, names: list[str]) -> str:
    if len(names) == 1:
        return f"{noun} {names[0]} is"
    return f"{noun}s {names[0]} and {len(names) - 1} more are"
