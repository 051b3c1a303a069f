"""The functions of a Core ML package that take rows: their names, and what the package says of them.

For whoever runs one, Apple's runtime or the evaluator. Not about running them.

    embed               inputIds → inputEmbeds, perhaps perLayerRows
    images, or sounds   inputEmbeds, causalMask, perhaps imageBlocks and perLayerRows → logits; `sounds` in
                        a package that takes sounds and no images
"""

from __future__ import annotations

from collections.abc import Mapping

from runtimes.multimodal.placing import SoftTokens
from runtimes.multimodal.session import RowKind

EMBEDDED, PER_LAYER, BLOCKS = "inputEmbeds", "perLayerRows", "imageBlocks"
LOOKUP = "embed"
DECODERS: Mapping[RowKind, str] = {"image": "images", "sound": "sounds"}
"""By the first kind of rows that a package takes."""
TOKEN_FACTS: Mapping[RowKind, str] = {
    "image": "gemma-export.image_token",
    "sound": "gemma-export.audio_token",
}
"""What metadata has the id under that stands for a row."""


def soft_tokens(metadata: Mapping[str, str]) -> SoftTokens:
    """Nothing for a package that takes text alone."""
    return {
        kind: int(metadata[name])
        for kind, name in TOKEN_FACTS.items()
        if metadata.get(name, "").isdecimal()
    }


def decoder_function(soft: SoftTokens) -> str:
    """The function that takes rows of these kinds, of which there is one."""
    return next(name for kind, name in DECODERS.items() if kind in soft)
