"""Gemma 4's audio encoder: a conformer over log mel spectra, whose frames see what was a moment ago.

Not about spectra. Source: transformers `modeling_gemma4.py`, `Gemma4AudioModel`.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from exporter.models.audio.dialect import AudioDialect, Sound
from exporter.models.audio.spec import STRIDE, ConformerSpec

TOWER = "audio_tower."
SLOWEST = 10_000.0  # times the period of the fastest wave that distances are told by


def conformer_features(spec: ConformerSpec, ops: AudioDialect, spectrum: Tensor, sound: Sound) -> Tensor:
    """Spectra [1, frames, bands] to [1, ceil(ceil(frames / 2) / 2), output_size]."""
    x = spectrum.reshape(1, spectrum.shape[1], spec.bands, 1)
    start = f"{TOWER}subsample_conv_projection."
    for index in range(len(spec.channels)):
        x = ops.subsample(ops.audible(x, sound, STRIDE**index), f"{start}layer{index}.conv.weight")
        x = ops.relu(ops.layer_norm(x, f"{start}layer{index}.norm.weight", spec.conv_eps))
    x = ops.project(x.reshape(1, x.shape[1], x.shape[2] * x.shape[3]), f"{start}input_proj_linear.weight")
    waves = ops.constant(distances(spec.chunk, spec.hidden_size))
    for index in range(spec.layers):
        x = _layer(spec, ops, f"{TOWER}layers.{index}.", x, waves, sound)
    return ops.project(x, f"{TOWER}output_proj.weight", f"{TOWER}output_proj.bias")


def distances(furthest: int, width: int) -> NDArray[np.float32]:
    """Sines and cosines of distances from `furthest` down to 0, [1, furthest + 1, width].

    By numpy: what torch computes while a runtime's dialect is traced becomes part of its graph.
    """
    half = width // 2
    step = math.log(SLOWEST) / max(half - 1, 1)
    angles = np.arange(furthest, -1, -1)[:, None] * np.exp(np.arange(half) * -step)
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=-1, dtype=np.float32)[None]


def _layer(
    spec: ConformerSpec, ops: AudioDialect, prefix: str, x: Tensor, waves: Tensor, sound: Sound
) -> Tensor:
    x = _feed_forward(spec, ops, f"{prefix}feed_forward1.", x)
    h = ops.norm(_bounded(spec, ops, x), f"{prefix}norm_pre_attn.weight", spec.norm_eps)
    h = _attention(spec, ops, f"{prefix}self_attn.", h, waves, sound)
    x = x + ops.norm(_bounded(spec, ops, h), f"{prefix}norm_post_attn.weight", spec.norm_eps)
    x = _convolution(spec, ops, f"{prefix}lconv1d.", x)
    x = _feed_forward(spec, ops, f"{prefix}feed_forward2.", x)
    return ops.norm(_bounded(spec, ops, x), f"{prefix}norm_out.weight", spec.norm_eps)


def _feed_forward(spec: ConformerSpec, ops: AudioDialect, prefix: str, x: Tensor) -> Tensor:
    h = ops.norm(_bounded(spec, ops, x), f"{prefix}pre_layer_norm.weight", spec.norm_eps)
    h = ops.silu(_linear(spec, ops, f"{prefix}ffw_layer_1", h))
    h = _bounded(spec, ops, _linear(spec, ops, f"{prefix}ffw_layer_2", h))
    return x + ops.norm(h, f"{prefix}post_layer_norm.weight", spec.norm_eps) * spec.residual


def _attention(
    spec: ConformerSpec, ops: AudioDialect, prefix: str, x: Tensor, waves: Tensor, sound: Sound
) -> Tensor:
    frames, heads, head_dim = x.shape[1], spec.heads, spec.head_dim
    q, k, v = (
        _linear(spec, ops, f"{prefix}{part}_proj", x).reshape(1, frames, heads, head_dim) for part in "qkv"
    )
    relative = ops.project(waves, f"{prefix}relative_k_proj.weight")
    relative = relative.reshape(1, spec.chunk + 1, heads, head_dim)
    # As they were trained: a learned factor that is 1 where its weight is 0, and keys in the same units.
    q = q * (ops.softplus(f"{prefix}per_dim_scale") * (head_dim**-0.5 / math.log(2)))
    k = k * (math.log(1 + math.e) / math.log(2))
    attended = ops.attend(q, k, v, relative, spec.cap, sound)
    return _linear(spec, ops, f"{prefix}post", attended)


def _convolution(spec: ConformerSpec, ops: AudioDialect, prefix: str, x: Tensor) -> Tensor:
    h = ops.norm(x, f"{prefix}pre_layer_norm.weight", spec.conv_eps)
    h = ops.gated(_linear(spec, ops, f"{prefix}linear_start", h))
    taps = [ops.vector(f"{prefix}depthwise_conv1d.{tap}") for tap in range(spec.kernel)]
    y = h * taps[-1]
    for back, tap in enumerate(reversed(taps[:-1]), 1):
        y = y + ops.delayed(h, back) * tap
    y = ops.silu(ops.norm(_bounded(spec, ops, y), f"{prefix}conv_norm.weight", spec.conv_eps))
    return x + _linear(spec, ops, f"{prefix}linear_end", y)


def _linear(spec: ConformerSpec, ops: AudioDialect, name: str, x: Tensor) -> Tensor:
    return ops.project(x, f"{name}.linear.weight", clip=name if spec.clipped else None)


def _bounded(spec: ConformerSpec, ops: AudioDialect, x: Tensor) -> Tensor:
    return x if spec.bound is None else ops.between(x, spec.bound)
