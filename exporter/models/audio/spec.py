"""What there is to know of an audio encoder: every number, without defaults, and every weight by name.

Two kinds, by what their checkpoints hold:

    ConformerSpec       Gemma 4 E2B, E4B: a conformer over mel spectra
    WaveformSpec        Gemma 4 12B: no encoder, one linear over samples

Not about reading config.json (`families`) or computing anything.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from exporter.models.text.spec import Role, WeightSpec
from exporter.models.vision.spec import BOUNDS

STRIDE = 2  # frames and bands that each of the two convolutions at the start makes one of
FILTER = 3  # frames and bands that a filter of them covers
FRAMES_PER_TOKEN = STRIDE**2


@dataclass(frozen=True)
class SoundTokens:
    """soft: the id in place of each row of a sound. begin, end: ids around them."""

    soft: int
    begin: int
    end: int


@dataclass(frozen=True)
class ConformerSpec:
    """A conformer: two convolutions that make one of four frames, and layers of half feed-forwards around
    attention to what was a moment ago and a convolution along time.

    channels: of the two convolutions. kernel: frames that a layer's own convolution covers, causal. chunk:
    attention is computed in blocks of so many frames, and a frame sees itself and the chunk - 1 before it.
    residual: what a feed-forward adds is multiplied with it. cap: of scores, by tanh. bound: hidden states
    are kept within it at some places; None where it is beyond what float16 holds, so that nothing that a
    runtime computes reaches it. conv_eps: of the norms around convolutions and before the text model's
    width; the others' is `norm_eps`.
    """

    hidden_size: int
    layers: int
    heads: int
    channels: tuple[int, int]
    kernel: int
    chunk: int
    residual: float
    cap: float
    bound: float | None
    clipped: bool
    norm_eps: float
    conv_eps: float
    output_size: int
    text_hidden_size: int
    tokens: SoundTokens

    model_type = "gemma4_audio"

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.heads

    @property
    def bands(self) -> int:
        """Mel bands of a spectrum: what both convolutions leave of them is a quarter of the first one's
        channels."""
        return self.channels[0] // 4 * FRAMES_PER_TOKEN

    def weights(self) -> tuple[WeightSpec, ...]:
        """Every weight of encoder and projection, in graph order."""
        return tuple(self._weights())

    def parameter_count(self) -> int:
        return sum(math.prod(weight.shape) for weight in self.weights())

    def _weights(self) -> Iterator[WeightSpec]:
        start, entering = "audio_tower.subsample_conv_projection.", 1
        for index, leaving in enumerate(self.channels):
            shape = (leaving, entering * FILTER**2)
            yield WeightSpec(f"{start}layer{index}.conv.weight", shape, Role.PATCHES)
            yield WeightSpec(f"{start}layer{index}.norm.weight", (leaving,), Role.VECTOR)
            entering = leaving
        left = self.bands // FRAMES_PER_TOKEN * self.channels[1]
        yield WeightSpec(f"{start}input_proj_linear.weight", (self.hidden_size, left), Role.TOWER_LINEAR)
        for index in range(self.layers):
            yield from self._layer(f"audio_tower.layers.{index}.")
        shape = (self.output_size, self.hidden_size)
        yield WeightSpec("audio_tower.output_proj.weight", shape, Role.TOWER_LINEAR)
        yield WeightSpec("audio_tower.output_proj.bias", (self.output_size,), Role.VECTOR)
        shape = (self.text_hidden_size, self.output_size)
        yield WeightSpec("embed_audio.embedding_projection.weight", shape, Role.TOWER_LINEAR)

    def _layer(self, prefix: str) -> Iterator[WeightSpec]:
        hidden = self.hidden_size

        def norm(name: str) -> WeightSpec:
            return WeightSpec(f"{prefix}{name}.weight", (hidden,), Role.VECTOR)

        yield from self._feed_forward(f"{prefix}feed_forward1.")
        yield norm("norm_pre_attn")
        for part in ("q_proj", "k_proj", "v_proj"):
            yield from self._linear(f"{prefix}self_attn.{part}", hidden, hidden)
        yield WeightSpec(f"{prefix}self_attn.per_dim_scale", (self.head_dim,), Role.VECTOR)
        name = f"{prefix}self_attn.relative_k_proj.weight"
        yield WeightSpec(name, (hidden, hidden), Role.TOWER_LINEAR)
        yield from self._linear(f"{prefix}self_attn.post", hidden, hidden)
        yield norm("norm_post_attn")
        yield norm("lconv1d.pre_layer_norm")
        yield from self._linear(f"{prefix}lconv1d.linear_start", 2 * hidden, hidden)
        for tap in range(self.kernel):
            name = f"{prefix}lconv1d.depthwise_conv1d.{tap}"
            yield WeightSpec(name, (hidden,), Role.VECTOR)
        yield norm("lconv1d.conv_norm")
        yield from self._linear(f"{prefix}lconv1d.linear_end", hidden, hidden)
        yield from self._feed_forward(f"{prefix}feed_forward2.")
        yield norm("norm_out")

    def _feed_forward(self, prefix: str) -> Iterator[WeightSpec]:
        hidden = self.hidden_size
        yield WeightSpec(f"{prefix}pre_layer_norm.weight", (hidden,), Role.VECTOR)
        yield from self._linear(f"{prefix}ffw_layer_1", 4 * hidden, hidden)
        yield from self._linear(f"{prefix}ffw_layer_2", hidden, 4 * hidden)
        yield WeightSpec(f"{prefix}post_layer_norm.weight", (hidden,), Role.VECTOR)

    def _linear(self, name: str, out: int, inputs: int) -> Iterator[WeightSpec]:
        yield WeightSpec(f"{name}.linear.weight", (out, inputs), Role.TOWER_LINEAR)
        if self.clipped:
            for bound in BOUNDS:
                yield WeightSpec(f"{name}.{bound}", (1,), Role.VECTOR)


@dataclass(frozen=True)
class WaveformSpec:
    """Gemma 4 12B's: a row is `samples` of a sound as they are, normed and projected."""

    samples: int
    norm_eps: float
    text_hidden_size: int
    tokens: SoundTokens

    model_type = "gemma4_unified_audio"

    def weights(self) -> tuple[WeightSpec, ...]:
        """Every weight, in graph order."""
        shape = (self.text_hidden_size, self.samples)
        return (WeightSpec("embed_audio.embedding_projection.weight", shape, Role.TOWER_LINEAR),)

    def parameter_count(self) -> int:
        return sum(math.prod(weight.shape) for weight in self.weights())


AudioSpec = ConformerSpec | WaveformSpec
"""An audio encoder, of whichever kind."""
