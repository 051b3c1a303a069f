"""The models of a bundle that sounds go through, as LiteRT-LM calls them.

    encoder         src_inputs [1, frames, bands] float32 and mask [1, 1, frames] bool, true for what is
                    sound, which begins with the first frame; to features [1, n, width] and mask [1, n] bool
    adapter         features and mask, to features [1, n, hidden], 0 where there is no sound
    end of audio    nothing, to eoa_embedding [1, 1, hidden]

12B has no encoder: its features are the samples themselves, a frame for each soft token, without a frame of
zeros that begins them, and the adapter does all there is to do. Not about where in a bundle they lie
(`audio.sections`).
"""

from __future__ import annotations

from typing import assert_never

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from exporter.lowering.litert.audio.dialect import LiteRtAudio
from exporter.lowering.litert.signatures import LiteRtGraph
from exporter.lowering.litert.tower_model import TowerModel, build_end
from exporter.lowering.litert.tracing import ArithmeticTracer
from exporter.models.audio.conformer import conformer_features
from exporter.models.audio.rows import embedded
from exporter.models.audio.spec import FRAMES_PER_TOKEN, AudioSpec, ConformerSpec, WaveformSpec
from exporter.quantization.store.checkpoint import StoredAudio
from runtimes.litert.sound_models import (
    ADAPTER_SIGNATURE,
    ENCODER_SIGNATURE,
    END,
    END_SIGNATURE,
    FEATURES,
    SOUND,
    SOUND_MASK,
    SoundCalls,
)


def build_audio_encoder(audio: StoredAudio, length: int) -> LiteRtGraph:
    """The encoder, for calls of `length` soft tokens."""
    made = _Model(audio, f"{ENCODER_SIGNATURE}{length}")
    ops, spec = made.ops, audio.spec
    frames = length * _frames(spec)
    features = made.input(SOUND, (1, frames, _numbers(spec)))
    given = made.input(SOUND_MASK, (1, 1, frames), torch.bool)
    sound = ops.reshape(ops.as_float(given), [1, frames])
    match spec:
        case ConformerSpec():
            made.dialect.nothing = ops.reshape(ops.multiply(ops.slice(sound, 1, 0, 1), 0.0), [1, 1, 1])
            with ArithmeticTracer(ops):
                features = conformer_features(spec, made.dialect, features, sound)
        case WaveformSpec():
            features, sound = made.without_silence(features, sound)
        case _:
            assert_never(spec)
    first = ops.slice(ops.reshape(sound, [1, length, _frames(spec)]), 2, 0, 1)
    audible = ops.greater_equal(ops.reshape(first, [1, length]), 0.5)
    made.builder.model.description = str(sound_calls_of(spec))
    return made.finish({FEATURES: features, SOUND_MASK: audible})


def build_audio_adapter(audio: StoredAudio, length: int) -> LiteRtGraph:
    """What makes rows of features."""
    made = _Model(audio, f"{ADAPTER_SIGNATURE}{length}")
    spec = audio.spec
    width = spec.output_size if isinstance(spec, ConformerSpec) else spec.samples
    features = made.input(FEATURES, (1, length, width))
    given = made.input(SOUND_MASK, (1, length), torch.bool)
    with ArithmeticTracer(made.ops):
        rows = embedded(spec, made.dialect, features)
    sound = made.ops.reshape(made.ops.as_float(given), [1, length, 1])
    return made.finish({FEATURES: made.ops.multiply(rows, sound)})


def build_end_of_audio(end: NDArray[np.float32]) -> LiteRtGraph:
    """end: [hidden], as the decoder takes it."""
    return build_end(END_SIGNATURE, END, end)


def sound_calls_of(spec: AudioSpec) -> SoundCalls:
    """What a caller has to know. A soft token may be made of the one before by the convolutions at the
    start, and in each layer of what attention and its own convolution see."""
    match spec:
        case ConformerSpec():
            return SoundCalls(silence=0, lookback=1 + spec.layers * (spec.chunk - 1 + spec.kernel - 1))
        case WaveformSpec():
            return SoundCalls(silence=1, lookback=0)
        case _:
            assert_never(spec)


class _Model(TowerModel):
    """One model of an audio encoder."""

    def __init__(self, audio: StoredAudio, signature: str) -> None:
        super().__init__(audio, signature)
        self.dialect = LiteRtAudio(self.ops, self.linears, audio.vectors)

    def without_silence(self, frames: Tensor, sound: Tensor) -> tuple[Tensor, Tensor]:
        """Frames [1, count, samples] and which are sound [1, count], one earlier where the first is of
        zeros alone: LiteRT-LM 0.18.1 puts such a frame in front of every sound."""
        ops, count = self.ops, frames.shape[1]
        peak = ops.largest(ops.absolute(ops.slice(frames, 1, 0, 1)))  # [1, 1, 1]
        silent = ops.as_float(ops.greater_equal(ops.multiply(peak, -1.0), 0.0))
        other = ops.add(ops.multiply(silent, -1.0), 1.0)
        marks = ops.reshape(sound, [1, count, 1])
        frames, marks = (
            # By factors of 0 and 1: exact.
            ops.add(
                ops.multiply(ops.padded(ops.slice(each, 1, 1, count), 1, 0, 1), silent),
                ops.multiply(each, other),
            )
            for each in (frames, marks)
        )
        return frames, ops.reshape(marks, [1, count])


def _frames(spec: AudioSpec) -> int:
    """Of a soft token."""
    return FRAMES_PER_TOKEN if isinstance(spec, ConformerSpec) else 1


def _numbers(spec: AudioSpec) -> int:
    """Of a frame."""
    return spec.bands if isinstance(spec, ConformerSpec) else spec.samples
