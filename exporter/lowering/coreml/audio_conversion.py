"""From an audio encoder to a Core ML program of one function.

    features     [1, frames, bands] of E2B and E4B, log mel spectra; [1, soft tokens, samples] of the 12B;
                 no frame of padding
    soundRows    [1, soft tokens, hidden], as the decoder's `inputEmbeds` take them

Not about how a module becomes a program (`traced_program`) or what is done to a sound before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from exporter.lowering.coreml.audio_dialect import CoreMlAudio, closed_scores
from exporter.lowering.coreml.tower_dialect import TowerConstants
from exporter.lowering.coreml.traced_program import ConvertedProgram, Input, Length, Traceable, to_program
from exporter.models.audio.rows import sound_rows
from exporter.models.audio.spec import FRAMES_PER_TOKEN, AudioSpec, ConformerSpec, WaveformSpec

FEATURES, ROWS = "features", "soundRows"
TRACED_TOKENS = 2  # a trace keeps every value in it: sounds are traced short


def convert_encoder(
    spec: AudioSpec, vectors: Mapping[str, NDArray[np.float32]], soft_tokens: int
) -> ConvertedProgram:
    """soft_tokens: of one sound, at most."""
    matrices = {weight.name: weight.shape for weight in spec.weights() if weight.is_matrix}
    module = _Encoder(spec, vectors, tuple(matrices), soft_tokens)
    return to_program(Traceable(module, (_input(spec, soft_tokens),), matrices, {}, (ROWS,)))


class _Encoder(torch.nn.Module):
    """The encoder as a module: matrices come in as arguments behind the sound."""

    def __init__(
        self,
        spec: AudioSpec,
        vectors: Mapping[str, NDArray[np.float32]],
        names: tuple[str, ...],
        soft_tokens: int,
    ) -> None:
        super().__init__()
        self._spec, self._names = spec, names
        self._closed = None
        every_eps = {spec.norm_eps}
        if isinstance(spec, ConformerSpec):
            every_eps.add(spec.conv_eps)
            self._closed = closed_scores(spec.chunk, -(-soft_tokens // spec.chunk))
        self._constants = TowerConstants.of(vectors, every_eps)

    def forward(self, features: Tensor, *matrices: Tensor) -> Tensor:
        given = dict(zip(self._names, matrices, strict=True))
        return sound_rows(self._spec, CoreMlAudio(given, self._constants, self._closed), features, None)


def _input(spec: AudioSpec, soft_tokens: int) -> Input:
    match spec:
        case ConformerSpec():
            per_token, width = FRAMES_PER_TOKEN, spec.bands
        case WaveformSpec():
            per_token, width = 1, spec.samples
        case _:
            assert_never(spec)
    most = per_token * soft_tokens
    example = torch.zeros((1, per_token * TRACED_TOKENS, width))
    return Input(FEATURES, example, (1, Length("frames", 1, most, default=most), width))
