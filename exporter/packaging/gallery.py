"""`model_allowlist.json`: the entry by which AI Edge Gallery offers a LiteRT-LM bundle for download.

Keys as the app's own list has them (google-ai-edge/gallery, `model_allowlists/`, `ModelAllowlist.kt`).
Where the bundle will be uploaded only its publisher knows: the entry names no account, and the branch
`main`. A base model has none: the app converses. Not about the bundle.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from exporter.formats.table import facts_of, family_of
from exporter.planning.plan import Plan
from runtimes.formats import Accelerator
from runtimes.manifest import Artifact

ALLOWLIST_NAME = "model_allowlist.json"
TASKS, ABOUT_PICTURES = ("llm_chat", "llm_prompt_lab"), "llm_ask_image"
# Where the app runs the tower, "gpu" where an entry does not say: proved on CPUs (docs/adr/0034).
TOWER_ON = "cpu"
# How Google's own entries sample every Gemma.
SAMPLING = {"topK": 64, "topP": 0.95, "temperature": 1.0}


def write_allowlist(release: Path, model: str, plan: Plan, artifacts: tuple[Artifact, ...]) -> None:
    """Write it beside the bundles of an instruction-tuned model; nothing where there is no bundle."""
    entries = [
        _entry(release, model, plan, artifact)
        for artifact in artifacts
        if facts_of(artifact.format).in_gallery
    ]
    if entries:
        text = json.dumps({"models": entries}, indent=2, ensure_ascii=False) + "\n"
        (release / ALLOWLIST_NAME).write_text(text, encoding="utf-8")


def _entry(release: Path, model: str, plan: Plan, artifact: Artifact) -> dict[str, Any]:
    name = f"{model}-{plan.variant.recipe.name}"
    sees = plan.image_tower is not None
    tasks = [*TASKS, ABOUT_PICTURES] if sees else [*TASKS]
    accelerators = [each.lower() for each in _accelerators(plan, artifact)]
    return {
        "name": name,
        "modelId": name,
        "modelFile": artifact.path,
        "commitHash": "main",
        "description": (
            f"{model}, recipe {plan.variant.recipe.name}, {_given(plan)}, with a context of "
            f"{artifact.context} tokens. Made and checked with gemma-export."
        ),
        "sizeInBytes": (release / artifact.path).stat().st_size,
        **({"llmSupportImage": True} if sees else {}),
        "defaultConfig": {
            **SAMPLING,
            "maxContextLength": artifact.context,
            "maxTokens": artifact.context,
            "accelerators": ",".join(accelerators),
            **({"visionAccelerator": TOWER_ON} if sees else {}),
        },
        "taskTypes": tasks,
    }


def _given(plan: Plan) -> str:
    """The app shows pictures to what names a task for them. Nobody has seen it play a sound to one of these
    bundles."""
    if not plan.towers:
        return "text only"
    if plan.image_tower is None:
        return "asked by text alone though it takes more"
    return "text and pictures" if len(plan.towers) == 1 else "text and pictures though it takes more"


def _accelerators(plan: Plan, artifact: Artifact) -> Iterator[Accelerator]:
    """Those that carry every scheme in the bundle, the one it is meant for first."""
    family, text = family_of(artifact.format), plan.components["text"]
    schemes = {scheme.name for scheme in text.schemes.values()}
    meant = plan.variant.accelerators.get(artifact.format, "CPU")
    for accelerator in sorted(family.accelerators, key=lambda each: each != meant):
        if schemes <= family.on(accelerator).schemes:
            yield accelerator
