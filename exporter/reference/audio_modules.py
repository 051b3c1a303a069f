"""transformers' own audio encoders as modules without weights, and how a sound goes through each.

Numbers are the spec's, which `models.audio.families` read from config.json. Not about weights
(`reference_tower`).
"""

from __future__ import annotations

from typing import Any, assert_never

import torch
from torch import Tensor, nn

from exporter.models.audio.spec import AudioSpec, ConformerSpec, WaveformSpec
from runtimes.sounds.prepared import PreparedSound

UNBOUND = 1e10  # what published checkpoints say where nothing is to be bound


def audio_modules(spec: AudioSpec) -> nn.Module:
    """transformers' modules of this encoder and of what brings its rows into the text model's width."""
    match spec:
        case ConformerSpec():
            return _conformer(spec)
        case WaveformSpec():
            return _waveform(spec)
        case _:
            assert_never(spec)


def heard_rows(spec: AudioSpec, modules: Any, sound: PreparedSound) -> Tensor:
    """[soft tokens, text's width], as transformers' model for sounds and text calls its modules."""
    features = torch.as_tensor(sound.features)
    match spec:
        case ConformerSpec():
            frames = torch.ones(features.shape[:2], dtype=torch.bool)
            found = modules["audio_tower"](features, frames).last_hidden_state
        case WaveformSpec():
            found = features
        case _:
            assert_never(spec)
    rows: Tensor = modules["embed_audio"](inputs_embeds=found)[0]
    return rows


def _conformer(spec: ConformerSpec) -> nn.Module:
    from transformers import Gemma4Config
    from transformers.models.gemma4.modeling_gemma4 import Gemma4AudioModel, Gemma4MultimodalEmbedder

    config = Gemma4Config(
        text_config={"hidden_size": spec.text_hidden_size},
        audio_config={
            "model_type": spec.model_type,
            "hidden_size": spec.hidden_size,
            "num_hidden_layers": spec.layers,
            "num_attention_heads": spec.heads,
            "subsampling_conv_channels": list(spec.channels),
            "conv_kernel_size": spec.kernel,
            "residual_weight": spec.residual,
            "attention_chunk_size": spec.chunk,
            "attention_context_left": spec.chunk + 1,
            "attention_context_right": 0,
            "attention_logit_cap": spec.cap,
            "use_clipped_linears": spec.clipped,
            "rms_norm_eps": spec.conv_eps,  # that of the others is written in the code
            "gradient_clipping": UNBOUND if spec.bound is None else spec.bound,
            "output_proj_dims": spec.output_size,
        },
    )
    return nn.ModuleDict(
        {
            "audio_tower": Gemma4AudioModel(config.audio_config),
            "embed_audio": Gemma4MultimodalEmbedder(config.audio_config, config.text_config),
        }
    )


def _waveform(spec: WaveformSpec) -> nn.Module:
    from transformers.models.gemma4_unified.configuration_gemma4_unified import (
        Gemma4UnifiedAudioConfig,
        Gemma4UnifiedTextConfig,
    )
    from transformers.models.gemma4_unified.modeling_gemma4_unified import Gemma4UnifiedMultimodalEmbedder

    config = Gemma4UnifiedAudioConfig(audio_embed_dim=spec.samples, rms_norm_eps=spec.norm_eps)
    text = Gemma4UnifiedTextConfig(hidden_size=spec.text_hidden_size)
    return nn.ModuleDict({"embed_audio": Gemma4UnifiedMultimodalEmbedder(config, text)})
