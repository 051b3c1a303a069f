"""transformers' own image towers as modules without weights, and how a picture goes through each.

Numbers are the spec's, which `models.vision.families` read from config.json. Not about weights
(`reference_tower`).
"""

from __future__ import annotations

from typing import Any, assert_never

import torch
from torch import Tensor, nn

from exporter.models.vision.spec import PatchEmbedderSpec, PatchTowerSpec, SiglipSpec, VisionSpec
from runtimes.images.prepared import PreparedImage

ATTENTION = "sdpa"  # eager scores of 4096 patches are a gigabyte


def vision_modules(spec: VisionSpec) -> nn.Module:
    """transformers' modules of this tower and of what brings its rows into the text model's width."""
    match spec:
        case SiglipSpec():
            return _siglip(spec)
        case PatchTowerSpec():
            return _patch_tower(spec)
        case PatchEmbedderSpec():
            return _patch_embedder(spec)
        case _:
            assert_never(spec)


def picture_rows(spec: VisionSpec, modules: Any, image: PreparedImage) -> Tensor:
    """[soft tokens, text's width], as transformers' model for images and text calls its modules."""
    pixels = torch.as_tensor(image.pixels)
    positions = None if image.positions is None else torch.as_tensor(image.positions).long()
    match spec:
        case SiglipSpec():
            found = modules["vision_tower"](pixel_values=pixels).last_hidden_state
            rows: Tensor = modules["multi_modal_projector"](found)[0]
        case PatchTowerSpec():
            found = modules["vision_tower"](pixel_values=pixels, pixel_position_ids=positions)
            rows = modules["embed_vision"](found.last_hidden_state)
        case PatchEmbedderSpec():
            found = modules["vision_embedder"](pixel_values=pixels, image_position_ids=positions)
            rows = found.pooler_output[0]
        case _:
            assert_never(spec)
    return rows


def _siglip(spec: SiglipSpec) -> nn.Module:
    from transformers import Gemma3Config, SiglipVisionModel
    from transformers.models.gemma3.modeling_gemma3 import Gemma3MultiModalProjector

    config = Gemma3Config(
        text_config={"hidden_size": spec.text_hidden_size},
        vision_config={
            "model_type": spec.model_type,
            "hidden_size": spec.hidden_size,
            "intermediate_size": spec.intermediate_size,
            "num_hidden_layers": spec.layers,
            "num_attention_heads": spec.heads,
            "image_size": spec.image_size,
            "patch_size": spec.patch_size,
            "layer_norm_eps": spec.norm_eps,
            "vision_use_head": False,  # it pools what Gemma 3 does not look at
        },
        mm_tokens_per_image=spec.soft_tokens,
    )
    config.vision_config._attn_implementation = ATTENTION
    return nn.ModuleDict(
        {
            "vision_tower": SiglipVisionModel(config.vision_config),
            "multi_modal_projector": Gemma3MultiModalProjector(config),
        }
    )


def _patch_tower(spec: PatchTowerSpec) -> nn.Module:
    from transformers import Gemma4Config
    from transformers.models.gemma4.modeling_gemma4 import Gemma4MultimodalEmbedder, Gemma4VisionModel

    config = Gemma4Config(
        text_config={"hidden_size": spec.text_hidden_size},
        vision_config={
            "model_type": spec.model_type,
            "hidden_size": spec.hidden_size,
            "intermediate_size": spec.intermediate_size,
            "num_hidden_layers": spec.layers,
            "num_attention_heads": spec.heads,
            "num_key_value_heads": spec.heads,
            "head_dim": spec.head_dim,
            "patch_size": spec.patch_size,
            "pooling_kernel_size": spec.kernel,
            "rms_norm_eps": spec.norm_eps,
            "rope_parameters": {"rope_type": "axial", "rope_theta": spec.theta},
            "position_embedding_size": spec.positions,
            "use_clipped_linears": spec.clipped,
            "standardize": spec.standardize,
        },
    )
    config.vision_config._attn_implementation = ATTENTION
    return nn.ModuleDict(
        {
            "vision_tower": Gemma4VisionModel(config.vision_config),
            "embed_vision": Gemma4MultimodalEmbedder(config.vision_config, config.text_config),
        }
    )


def _patch_embedder(spec: PatchEmbedderSpec) -> nn.Module:
    from transformers.models.gemma4_unified.configuration_gemma4_unified import (
        Gemma4UnifiedTextConfig,
        Gemma4UnifiedVisionConfig,
    )
    from transformers.models.gemma4_unified.modeling_gemma4_unified import Gemma4UnifiedVisionEmbedder

    config = Gemma4UnifiedVisionConfig(
        patch_size=spec.patch_size,
        pooling_kernel_size=spec.kernel,
        mm_embed_dim=spec.width,
        mm_posemb_size=spec.positions,
        rms_norm_eps=spec.norm_eps,
        output_proj_dims=spec.width,
    )
    text = Gemma4UnifiedTextConfig(hidden_size=spec.text_hidden_size)
    return nn.ModuleDict({"vision_embedder": Gemma4UnifiedVisionEmbedder(config, text)})
