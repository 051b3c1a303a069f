"""`sound_rows`: an audio encoder of whichever kind, from what a processor made of a sound to rows for the
text model.

What a client wants in two halves: `conformer_features`, then `embedded`.
"""

from __future__ import annotations

from typing import assert_never

from torch import Tensor

from exporter.models.audio.conformer import conformer_features
from exporter.models.audio.dialect import AudioDialect, Sound
from exporter.models.audio.spec import AudioSpec, ConformerSpec, WaveformSpec

PROJECTION = "embed_audio.embedding_projection.weight"


def sound_rows(spec: AudioSpec, ops: AudioDialect, features: Tensor, sound: Sound) -> Tensor:
    """[1, soft tokens, text_hidden], not scaled as embeddings of tokens are.

    features: of a conformer log mel spectra [1, frames, bands], else samples [1, soft tokens, samples].
    """
    match spec:
        case ConformerSpec():
            return embedded(spec, ops, conformer_features(spec, ops, features, sound))
        case WaveformSpec():
            return embedded(spec, ops, features)
        case _:
            assert_never(spec)


def embedded(spec: AudioSpec, ops: AudioDialect, features: Tensor) -> Tensor:
    """Features in the text model's width: [1, soft tokens, text_hidden]."""
    eps = spec.conv_eps if isinstance(spec, ConformerSpec) else spec.norm_eps
    return ops.project(ops.norm(features, None, eps), PROJECTION)
