"""Gemmas that are not exported, by every name they go by, so that a refusal names the model.

Not about configurations of supported families that are out of the ordinary: their readers refuse those.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from exporter.errors import SpecError

SUPPORTED = "supported are Gemma 1, 2, 3 (270M to 27B) and 4 (E2B, E4B, 12B and 31B)"


@dataclass(frozen=True)
class Refused:
    """title: what people call it. why: a clause. model_types: transformers' names of it and its parts.
    words: what its name on the Hub has in it, in lower case. classes: what the names of its classes in
    `architectures` begin with."""

    title: str
    why: str
    model_types: tuple[str, ...]
    words: tuple[str, ...]
    classes: tuple[str, ...] = ()


REFUSED = (
    Refused(
        "Gemma 3n",
        "its AltUp and LAuReL layers are not implemented",
        ("gemma3n", "gemma3n_text"),
        ("gemma-3n-",),
        ("Gemma3n",),
    ),
    Refused(
        "a Gemma 4 drafter for multi-token prediction",
        "it only guesses ahead for the model it belongs to, and owns no cache",
        ("gemma4_assistant", "gemma4_unified_assistant"),
        ("-assistant",),
        ("Gemma4Assistant", "Gemma4UnifiedAssistant"),
    ),
    Refused(
        "the Gemma 4 mixture of experts (26B-A4B)", "experts are not implemented", (), ("gemma-4-26b-a4b",)
    ),
    Refused("PaliGemma", "its prompt is an image", ("paligemma",), ("paligemma",), ("PaliGemma",)),
    Refused(
        "ShieldGemma 2", "it classifies images", ("shieldgemma2",), ("shieldgemma-2-",), ("ShieldGemma2",)
    ),
    Refused(
        "EmbeddingGemma",
        "it is an encoder and generates nothing",
        ("embedding_gemma", "embedding_gemma2", "embedding_gemma2_text"),
        ("embeddinggemma",),
        ("EmbeddingGemma",),
    ),
    Refused(
        "DiffusionGemma",
        "it does not generate one token after the other",
        ("diffusion_gemma", "diffusion_gemma_text"),
        ("diffusiongemma",),
        ("DiffusionGemma",),
    ),
    Refused(
        "T5Gemma",
        "it is an encoder and a decoder",
        ("t5gemma", "t5gemma2", "t5gemma2_text"),
        ("t5gemma",),
        ("T5Gemma",),
    ),
    Refused(
        "RecurrentGemma",
        "its recurrent layers are not implemented",
        ("recurrent_gemma",),
        ("recurrentgemma",),
        ("RecurrentGemma",),
    ),
)
CLASSIFIER = Refused("a classifier", "it has a head that scores whole texts and generates nothing", (), ())
CLASSIFIES = ("ForSequenceClassification", "ForTokenClassification")


def refuse_config(config: Mapping[str, Any], where: str) -> None:
    """Raise SpecError for a config.json of a model that is not exported, by its `model_type`, then by its
    `architectures`: never by what its directory is called."""
    model_type, classes = config.get("model_type"), config.get("architectures")
    for each in REFUSED:
        if isinstance(model_type, str) and model_type in each.model_types:
            raise _refusal(each, f"{where}.model_type", model_type)
    for name in classes if isinstance(classes, list) else ():
        if not isinstance(name, str):
            continue
        for each in REFUSED:
            if each.classes and name.startswith(each.classes):
                raise _refusal(each, f"{where}.architectures", name)
        if name.endswith(CLASSIFIES):
            raise _refusal(CLASSIFIER, f"{where}.architectures", name)


def _refusal(which: Refused, where: str, said: str) -> SpecError:
    return SpecError(
        where, f"{said[:100]!r} is {which.title}, which is not supported: {which.why}", SUPPORTED
    )


def refused_name(name: str) -> Refused | None:
    """What goes by this name or repository on the Hub and is not exported."""
    plain = name.lower()
    return next((each for each in REFUSED if any(word in plain for word in each.words)), None)
