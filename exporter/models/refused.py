"""Gemmas that are not exported, by every name they go by, so that a refusal names the model.

Not about configurations of supported families that are out of the ordinary: their readers refuse those.
"""

from __future__ import annotations

from dataclasses import dataclass

SUPPORTED = "supported are the text models of Gemma 1, 2, 3 (270M to 27B) and 4 (E2B, E4B, 12B and 31B)"


@dataclass(frozen=True)
class Refused:
    """title: what people call it. why: a clause. model_types: transformers' names of it and its parts.
    words: what its name on the Hub has in it, in lower case."""

    title: str
    why: str
    model_types: tuple[str, ...]
    words: tuple[str, ...]


REFUSED = (
    Refused(
        "Gemma 3n",
        "its AltUp and LAuReL layers are not implemented",
        ("gemma3n", "gemma3n_text"),
        ("gemma-3n-",),
    ),
    Refused(
        "a Gemma 4 drafter for multi-token prediction",
        "it only guesses ahead for the model it belongs to, and owns no cache",
        ("gemma4_assistant", "gemma4_unified_assistant"),
        ("-assistant",),
    ),
    Refused(
        "the Gemma 4 mixture of experts (26B-A4B)", "experts are not implemented", (), ("gemma-4-26b-a4b",)
    ),
    Refused("PaliGemma", "its prompt is an image", ("paligemma",), ("paligemma",)),
    Refused("ShieldGemma 2", "it classifies images", ("shieldgemma2",), ("shieldgemma-2-",)),
    Refused(
        "EmbeddingGemma",
        "it is an encoder and generates nothing",
        ("embedding_gemma2", "embedding_gemma2_text"),
        ("embeddinggemma",),
    ),
    Refused(
        "DiffusionGemma",
        "it does not generate one token after the other",
        ("diffusion_gemma", "diffusion_gemma_text"),
        ("diffusiongemma",),
    ),
    Refused(
        "T5Gemma", "it is an encoder and a decoder", ("t5gemma", "t5gemma2", "t5gemma2_text"), ("t5gemma",)
    ),
    Refused(
        "RecurrentGemma",
        "its recurrent layers are not implemented",
        ("recurrent_gemma",),
        ("recurrentgemma",),
    ),
    Refused("VaultGemma", "nobody has compared it yet", ("vaultgemma",), ("vaultgemma",)),
)


def refused_type(model_type: str) -> Refused | None:
    """What goes by this `model_type` in config.json and is not exported."""
    return next((each for each in REFUSED if model_type in each.model_types), None)


def refused_name(name: str) -> Refused | None:
    """What goes by this name or repository on the Hub and is not exported."""
    plain = name.lower()
    return next((each for each in REFUSED if any(word in plain for word in each.words)), None)
