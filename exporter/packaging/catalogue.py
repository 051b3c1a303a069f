"""The front matter of a model card: what the Hugging Face Hub's catalogue is told.

Keys: huggingface_hub's `ModelCardData` and its `model-index`. Not about the card's text (`model_card`).
"""

from __future__ import annotations

from typing import Any, Literal

from exporter.formats.table import facts_of
from exporter.packaging.escaping import plain
from exporter.packaging.licences import LicencePack
from exporter.packaging.measured import MeasuredFigure, MeasuredQuality
from exporter.packaging.origin import ModelOrigin
from runtimes.manifest import Artifact

Task = Literal["text-generation", "image-text-to-text", "audio-text-to-text"]
TEXT_TASK: Task = "text-generation"
SEEING_TASK: Task = "image-text-to-text"
HEARING_TASK: Task = "audio-text-to-text"
DATASET = "gemma-export/evaluation"  # no repository: the text ships with gemma-export
RELATION = "base_model_relation"


def front_matter(
    origin: ModelOrigin,
    quality: MeasuredQuality,
    artifacts: tuple[Artifact, ...],
    licence: LicencePack,
    task: Task = TEXT_TASK,
) -> str:
    """Between its dashes. Languages are those the checkpoint's card states, else those compared in.

    task: of the release; figures are of text all the same.
    """
    import yaml  # here: whoever runs a release has no need of it

    tags = {"gemma", "gemma-export", *(artifact.format for artifact in artifacts)}
    said: dict[str, Any] = {"pipeline_tag": task, "tags": sorted(tags)}
    if artifacts:
        said["library_name"] = facts_of(artifacts[0].format).library
    if origin.base is not None:
        said |= {"base_model": origin.base, RELATION: origin.relation}
    if languages := origin.languages or quality.languages:
        said["language"] = list(languages)
    if quality.figures:
        said["model-index"] = [_index(origin, quality)]
    text = yaml.safe_dump(said, sort_keys=False, allow_unicode=True)
    return "\n".join(["---", *licence.licence.front_matter, text.rstrip("\n"), "---"])


def _index(origin: ModelOrigin, quality: MeasuredQuality) -> dict[str, Any]:
    dataset = {"type": DATASET, "name": plain(quality.text)}
    return {
        "name": plain(origin.name),
        "results": [
            {
                "task": {"type": TEXT_TASK},
                "dataset": dict(dataset),
                "metrics": [_metric(figure) for figure in quality.figures],
            }
        ],
    }


def _metric(figure: MeasuredFigure) -> dict[str, Any]:
    return {
        "type": figure.metric,
        "value": figure.value,
        "name": f"{figure.name}, {plain(figure.artifact)}",
    }
