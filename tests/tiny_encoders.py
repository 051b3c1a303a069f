"""Tiny random audio encoders of both kinds: transformers' own modules, and their weights by canonical name.

Gains, factors and bounds have values that matter. Not about checkpoints on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from exporter.models.audio.spec import AudioSpec, ConformerSpec, SoundTokens, WaveformSpec
from tests.tiny_towers import TEXT_WIDTH

SOUND_SOFT, SOUND_BEGIN, SOUND_END = 503, 504, 505  # within the tiny vocabulary
TOKENS = SoundTokens(SOUND_SOFT, SOUND_BEGIN, SOUND_END)
Reference = Callable[[Tensor, Tensor], Tensor]
"""What a processor makes of a sound, padded, and which frames are sound, to rows [tokens, width]."""


@dataclass(frozen=True)
class TinyEncoder:
    """config: audio_config, as config.json has it. weights: by canonical name. stored: as transformers
    saves them, without what goes before `audio_tower` and `embed_audio`."""

    spec: AudioSpec
    config: Mapping[str, Any]
    weights: Mapping[str, Tensor]
    stored: Mapping[str, Tensor]
    reference: Reference


def tiny_conformer(clipped: bool = True, bands: int = 32) -> TinyEncoder:
    """Gemma 4 E2B's and E4B's: blocks of 4 frames."""
    from transformers import Gemma4Config
    from transformers.models.gemma4.modeling_gemma4 import Gemma4AudioModel, Gemma4MultimodalEmbedder

    audio = {
        "model_type": "gemma4_audio",
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "subsampling_conv_channels": [bands, 8],
        "conv_kernel_size": 5,
        "residual_weight": 0.5,
        "attention_chunk_size": 4,
        "attention_context_left": 5,
        "attention_context_right": 0,
        "attention_logit_cap": 50.0,
        "use_clipped_linears": clipped,
        "output_proj_dims": 48,
    }
    config = Gemma4Config(text_config={"hidden_size": TEXT_WIDTH}, audio_config=dict(audio))
    torch.manual_seed(5)
    encoder = _spread(Gemma4AudioModel(config.audio_config))
    embedder = Gemma4MultimodalEmbedder(config.audio_config, config.text_config).eval()
    stored = {f"audio_tower.{name}": each for name, each in encoder.state_dict().items()}
    stored |= {f"embed_audio.{name}": each for name, each in embedder.state_dict().items()}
    spec = ConformerSpec(
        hidden_size=64,
        layers=2,
        heads=4,
        channels=(bands, 8),
        kernel=5,
        chunk=4,
        residual=0.5,
        cap=50.0,
        bound=None,
        clipped=clipped,
        norm_eps=1e-6,
        conv_eps=config.audio_config.rms_norm_eps,
        output_size=48,
        text_hidden_size=TEXT_WIDTH,
        tokens=TOKENS,
    )

    def reference(features: Tensor, sound: Tensor) -> Tensor:
        with torch.no_grad():
            found = encoder(features, sound)
            rows: Tensor = embedder(found.last_hidden_state)[found.attention_mask.bool()]
        return rows

    return TinyEncoder(spec, audio, _canonical(stored), stored, reference)


def tiny_waveform(samples: int = 96) -> TinyEncoder:
    """Gemma 4 12B's."""
    from transformers.models.gemma4_unified.configuration_gemma4_unified import (
        Gemma4UnifiedAudioConfig,
        Gemma4UnifiedTextConfig,
    )
    from transformers.models.gemma4_unified.modeling_gemma4_unified import Gemma4UnifiedMultimodalEmbedder

    audio = {"model_type": "gemma4_unified_audio", "audio_embed_dim": samples}
    own = Gemma4UnifiedAudioConfig(audio_embed_dim=samples)
    torch.manual_seed(6)
    embedder = Gemma4UnifiedMultimodalEmbedder(own, Gemma4UnifiedTextConfig(hidden_size=TEXT_WIDTH)).eval()
    stored = {f"embed_audio.{name}": each for name, each in embedder.state_dict().items()}
    spec = WaveformSpec(samples, own.rms_norm_eps, TEXT_WIDTH, TOKENS)

    def reference(features: Tensor, sound: Tensor) -> Tensor:
        with torch.no_grad():
            rows: Tensor = embedder(features)[sound]
        return rows

    return TinyEncoder(spec, audio, dict(stored), stored, reference)


TINY_ENCODERS: Mapping[str, Callable[[], TinyEncoder]] = {
    "Gemma 4 E2B": tiny_conformer,
    "Gemma 4 12B": tiny_waveform,
}


@dataclass(frozen=True)
class Features:
    """What a processor makes of a sound, padded. sound: [1, frames] bool. count: soft tokens of it."""

    features: Tensor
    sound: Tensor
    count: int


def random_features(spec: AudioSpec, frames: int = 43, padded: int = 50) -> Features:
    """Noise of so many frames (of so many samples, where there are no spectra), and padding behind it."""
    torch.manual_seed(7)
    width = spec.bands if isinstance(spec, ConformerSpec) else spec.samples
    features = torch.zeros(1, padded, width)
    features[:, :frames] = torch.randn(1, frames, width)
    sound = torch.arange(padded)[None] < frames
    count = -(-frames // 4) if isinstance(spec, ConformerSpec) else frames
    return Features(features, sound, count)


def _canonical(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for name, value in stored.items():
        if name.endswith("depthwise_conv1d.weight"):
            stem = name.removesuffix("weight")
            found |= {f"{stem}{tap}": value[:, 0, tap].contiguous() for tap in range(value.shape[2])}
        elif name.endswith(".conv.weight"):
            found[name] = value.flatten(1)
        else:
            found[name] = value.reshape(1) if value.ndim == 0 else value
    return found


def _spread(module: Any) -> Any:
    """The module with values that matter where they would be 0, 1 or without end."""
    with torch.no_grad():
        for name, value in [*module.named_parameters(), *module.named_buffers()]:
            if name.endswith("_min"):
                value.fill_(-2.5)
            elif name.endswith("_max"):
                value.fill_(2.5)
            elif "per_dim_scale" in name or name.endswith("bias"):
                value.copy_(torch.randn_like(value) * 0.5)
            elif "norm" in name and value.ndim == 1:
                value.copy_(torch.rand_like(value) + 0.5)
            elif value.ndim > 1 and "timescales" not in name:
                value.copy_(torch.randn_like(value) / value[0].numel() ** 0.5)
    result: nn.Module = module.eval()
    return result
