"""Tiny random image towers of every kind: transformers' own modules, and their weights by canonical name.

Gains, biases and bounds have values that matter; queries and keys of Gemma 4 are kept small, whose scores
are otherwise so far apart that the order of a sum decides. Not about checkpoints on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from exporter.models.vision.spec import (
    ImageTokens,
    PatchEmbedderSpec,
    PatchTowerSpec,
    SiglipSpec,
    VisionSpec,
)

TEXT_WIDTH = 64
SOFT, BEGIN, END = 500, 501, 502  # within the tiny vocabulary
Reference = Callable[[Tensor, Tensor | None], Tensor]
"""What a processor makes of a picture, padded, to rows [soft tokens, text width]."""


@dataclass(frozen=True)
class TinyTower:
    """vision_config, config: as config.json has them. weights: by canonical name. stored: as transformers
    saves them, without what goes before `vision_tower`, `embed_vision`, and so on."""

    spec: VisionSpec
    config: Mapping[str, Any]
    weights: Mapping[str, Tensor]
    stored: Mapping[str, Tensor]
    reference: Reference


def image_tokens(blocks: Any, line_breaks: bool = False) -> ImageTokens:
    return ImageTokens(SOFT, BEGIN, END, line_breaks, blocks)


def tiny_siglip(image_size: int = 112, soft_tokens: int = 4) -> TinyTower:
    """Gemma 3's: 8 x 8 patches, pooled to 2 x 2."""
    from transformers import Gemma3Config, SiglipVisionModel
    from transformers.models.gemma3.modeling_gemma3 import Gemma3MultiModalProjector

    vision = {
        "model_type": "siglip_vision_model",
        "hidden_size": 64,
        "intermediate_size": 112,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": image_size,
        "patch_size": 14,
        "vision_use_head": False,
    }
    config = Gemma3Config(
        text_config={"hidden_size": TEXT_WIDTH}, vision_config=dict(vision), mm_tokens_per_image=soft_tokens
    )
    torch.manual_seed(1)
    tower = _spread(SiglipVisionModel(config.vision_config))
    projector = _spread(Gemma3MultiModalProjector(config))
    stored = {f"vision_tower.{name}": each for name, each in tower.state_dict().items()}
    stored |= {f"multi_modal_projector.{name}": each for name, each in projector.state_dict().items()}
    weights = {name.replace("vision_tower.vision_model.", "vision_tower."): w for name, w in stored.items()}
    filters = "vision_tower.embeddings.patch_embedding.weight"
    weights[filters] = weights[filters].flatten(1)
    projection = weights.pop("multi_modal_projector.mm_input_projection_weight")
    weights["multi_modal_projector.mm_input_projection.weight"] = projection.T.contiguous()
    spec = SiglipSpec(
        hidden_size=64,
        intermediate_size=112,
        layers=2,
        heads=4,
        image_size=image_size,
        patch_size=14,
        norm_eps=config.vision_config.layer_norm_eps,
        projector_eps=config.vision_config.layer_norm_eps,
        soft_tokens=soft_tokens,
        text_hidden_size=TEXT_WIDTH,
        tokens=image_tokens("all", line_breaks=True),
    )

    def reference(pixels: Tensor, positions: Tensor | None) -> Tensor:
        with torch.no_grad():
            rows: Tensor = projector(tower(pixel_values=pixels).last_hidden_state)[0]
        return rows

    return TinyTower(
        spec, {"vision_config": vision, "mm_tokens_per_image": soft_tokens}, weights, stored, reference
    )


def tiny_patch_tower(clipped: bool = True, standardize: bool = False) -> TinyTower:
    """Gemma 4's: of E2B and E4B with bounds, of 26B and 31B with vectors at the end."""
    from transformers import Gemma4Config
    from transformers.models.gemma4.modeling_gemma4 import Gemma4MultimodalEmbedder, Gemma4VisionModel

    vision = {
        "model_type": "gemma4_vision",
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "head_dim": 16,
        "patch_size": 16,
        "pooling_kernel_size": 3,
        "position_embedding_size": 256,
        "use_clipped_linears": clipped,
        "standardize": standardize,
    }
    config = Gemma4Config(text_config={"hidden_size": TEXT_WIDTH}, vision_config=dict(vision))
    torch.manual_seed(2)
    tower = _spread(Gemma4VisionModel(config.vision_config))
    embedder = Gemma4MultimodalEmbedder(config.vision_config, config.text_config).eval()
    stored = {f"vision_tower.{name}": each for name, each in tower.state_dict().items()}
    stored |= {f"embed_vision.{name}": each for name, each in embedder.state_dict().items()}
    weights = dict(stored)
    table = "vision_tower.patch_embedder.position_embedding_table"
    weights[f"{table}.x"], weights[f"{table}.y"] = weights.pop(table)
    weights = {name: each.reshape(1) if each.ndim == 0 else each for name, each in weights.items()}
    spec = PatchTowerSpec(
        hidden_size=64,
        intermediate_size=96,
        layers=2,
        heads=4,
        head_dim=16,
        patch_size=16,
        kernel=3,
        norm_eps=config.vision_config.rms_norm_eps,
        theta=config.vision_config.rope_parameters["rope_theta"],
        positions=256,
        clipped=clipped,
        standardize=standardize,
        text_hidden_size=TEXT_WIDTH,
        tokens=image_tokens("none" if clipped else "sliding"),
    )

    def reference(pixels: Tensor, positions: Tensor | None) -> Tensor:
        with torch.no_grad():
            found = tower(pixel_values=pixels, pixel_position_ids=positions)
            rows: Tensor = embedder(found.last_hidden_state)
        return rows

    return TinyTower(spec, {"vision_config": vision}, weights, stored, reference)


def tiny_patch_embedder() -> TinyTower:
    """Gemma 4 12B's."""
    from transformers.models.gemma4_unified.configuration_gemma4_unified import (
        Gemma4UnifiedTextConfig,
        Gemma4UnifiedVisionConfig,
    )
    from transformers.models.gemma4_unified.modeling_gemma4_unified import Gemma4UnifiedVisionEmbedder

    vision = {
        "model_type": "gemma4_unified_vision",
        "patch_size": 16,
        "pooling_kernel_size": 3,
        "mm_embed_dim": 96,
        "mm_posemb_size": 1120,
        "output_proj_dims": 96,
    }
    own = Gemma4UnifiedVisionConfig(**{key: value for key, value in vision.items() if key != "model_type"})
    torch.manual_seed(3)
    embedder = _spread(Gemma4UnifiedVisionEmbedder(own, Gemma4UnifiedTextConfig(hidden_size=TEXT_WIDTH)))
    stored = {f"vision_embedder.{name}": each for name, each in embedder.state_dict().items()}
    weights = dict(stored)
    places = weights.pop("vision_embedder.pos_embedding")
    weights |= {f"vision_embedder.pos_embedding.{axis}": places[:, i] for i, axis in enumerate("xy")}
    spec = PatchEmbedderSpec(
        width=96,
        patch_size=16,
        kernel=3,
        layer_norm_eps=embedder.patch_ln1.eps,
        norm_eps=own.rms_norm_eps,
        positions=1120,
        text_hidden_size=TEXT_WIDTH,
        tokens=image_tokens("sliding"),
    )

    def reference(pixels: Tensor, positions: Tensor | None) -> Tensor:
        assert positions is not None
        with torch.no_grad():
            found = embedder(pixel_values=pixels, image_position_ids=positions)
        rows: Tensor = found.pooler_output[positions[..., 0] >= 0]
        return rows

    return TinyTower(spec, {"vision_config": vision}, weights, stored, reference)


TINY_TOWERS: Mapping[str, Callable[[], TinyTower]] = {
    "Gemma 3": tiny_siglip,
    "Gemma 4 E2B": tiny_patch_tower,
    "Gemma 4 31B": lambda: tiny_patch_tower(clipped=False, standardize=True),
    "Gemma 4 12B": tiny_patch_embedder,
}


@dataclass(frozen=True)
class Picture:
    """What a processor makes of one, padded to its budget. count: soft tokens."""

    pixels: Tensor
    positions: Tensor | None
    count: int
    length: int


def random_picture(spec: VisionSpec, squares: tuple[int, int] = (5, 3), budget: int = 20) -> Picture:
    """Noise of so many squares of patches across and down, and room for `budget`; a SigLIP's picture has
    a size of its own."""
    torch.manual_seed(4)
    if isinstance(spec, SiglipSpec):
        side = spec.image_size
        return Picture(torch.rand(1, 3, side, side) * 2 - 1, None, spec.soft_tokens, spec.soft_tokens)
    kernel = 1 if isinstance(spec, PatchEmbedderSpec) else spec.kernel
    across, down = squares[0] * kernel, squares[1] * kernel
    pixels = torch.zeros(1, budget * kernel**2, spec.patch_width)
    pixels[:, : across * down] = torch.rand(1, across * down, spec.patch_width)
    positions = torch.full((1, budget * kernel**2, 2), -1)
    y, x = torch.meshgrid(torch.arange(down), torch.arange(across), indexing="ij")
    positions[0, : across * down] = torch.stack([x, y], -1).reshape(-1, 2)
    return Picture(pixels, positions, squares[0] * squares[1], budget)


def _spread(module: Any) -> Any:
    """The module with values that matter where they would be 0, 1 or without end."""
    with torch.no_grad():
        for name, value in [*module.named_parameters(), *module.named_buffers()]:
            if value.dtype != torch.float32 or "inv_freq" in name:
                continue
            if name.endswith("_min"):
                value.fill_(-2.5)
            elif name.endswith("_max"):
                value.fill_(2.5)
            elif name.endswith(("q_norm.weight", "k_norm.weight")):
                value.fill_(0.35)
            elif name == "std_scale":
                value.copy_(torch.rand_like(value) + 0.5)
            elif name == "std_bias":
                value.copy_(torch.randn_like(value))
            elif "pos" in name or "mm_input_projection" in name:
                value.copy_(torch.randn_like(value) * 0.1)
            elif value.ndim == 1 and value.numel() > 1:
                value.add_(torch.randn_like(value) * 0.1)
    assert isinstance(module, nn.Module)
    return module.eval()
