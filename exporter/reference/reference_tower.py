"""`ReferenceTower`: transformers' own image tower, its weights visiting one module at a time.

transformers builds the modules without storage and does all of the computing, as `StreamedReference` has it
for text. Memory is the largest module's weights and the activations of one picture. Independent of
`exporter.models.vision` on purpose: a tower of ours and this one agree only where both are right. Not about
pictures before they are prepared, nor about what rows are used for (`merged_prompt`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, assert_never

import numpy as np
import torch
from accelerate import init_empty_weights  # type: ignore[import-untyped]  # ships no types
from torch import Tensor, nn

from exporter.models.vision.spec import PatchEmbedderSpec, PatchTowerSpec, SiglipSpec, VisionSpec
from exporter.reference.lending import Lender
from exporter.reference.tower_weights import AXES, CONVOLUTION, TABLES, TowerWeights, canonical_name
from exporter.reference.weights import ReferenceWeights
from runtimes.encoder import EncodedRows
from runtimes.images.prepared import PreparedImage

ATTENTION = "sdpa"  # eager scores of 4096 patches are a gigabyte

Forward = Callable[[nn.Module, Tensor, Tensor | None], Tensor]
"""(modules, pixels, positions) to rows [soft tokens, text's width]."""


class ReferenceTower:
    """transformers' tower of these numbers, which `models.vision.families` read from config.json.

    In float32.
    """

    def __init__(self, weights: ReferenceWeights, spec: VisionSpec) -> None:
        with init_empty_weights(include_buffers=False):  # parameters have no storage, RoPE tables do
            self.modules, self._forward = _modules(spec)
            self.modules.eval()
        owned = {
            f"{prefix}.{local}": (module, local, tensor)
            for prefix, module in self.modules.named_modules()
            for local, tensor in _saved(module)
        }
        shapes = {name: tuple(tensor.shape) for name, (_, _, tensor) in owned.items()}
        self.weights = TowerWeights(weights, shapes)
        lender = Lender(self.weights)
        for name, (module, local, _) in owned.items():
            lender.lend(module, local, name)

    def canonical_shapes(self) -> dict[str, tuple[int, ...]]:
        """What the checkpoint has to hold for these modules, by canonical name."""
        found: dict[str, tuple[int, ...]] = {}
        for name, shape in self.weights.shapes.items():
            own = canonical_name(name)
            along = next((along for end, along in TABLES.items() if name.endswith(end)), None)
            if along is not None:
                found |= {f"{own}.{axis}": (shape[1 - along], shape[2]) for axis in AXES}
            elif name.endswith(CONVOLUTION):
                found[own] = (shape[0], math.prod(shape[1:]))
            elif own != name and len(shape) == 2:
                found[own] = (shape[1], shape[0])
            else:
                found[own] = shape or (1,)
        return found

    def rows(self, image: PreparedImage) -> EncodedRows:
        """What transformers makes of one picture."""
        pixels = torch.as_tensor(image.pixels)
        positions = None if image.positions is None else torch.as_tensor(image.positions).long()
        with torch.inference_mode():
            found = self._forward(self.modules, pixels, positions)
        return found.numpy().astype(np.float32)


def _saved(module: nn.Module) -> list[tuple[str, Tensor]]:
    """Parameters and saved buffers of the module itself, not of its children."""
    buffers = [
        (local, buffer)
        for local, buffer in module.named_buffers(recurse=False)
        if local not in module._non_persistent_buffers_set
    ]
    return [*module.named_parameters(recurse=False), *buffers]


def _modules(spec: VisionSpec) -> tuple[nn.Module, Forward]:
    match spec:
        case SiglipSpec():
            return _siglip(spec), _siglip_rows
        case PatchTowerSpec():
            return _patch_tower(spec), _patch_tower_rows
        case PatchEmbedderSpec():
            return _patch_embedder(spec), _patch_embedder_rows
        case _:
            assert_never(spec)


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


def _siglip_rows(modules: Any, pixels: Tensor, positions: Tensor | None) -> Tensor:
    found: Tensor = modules["vision_tower"](pixel_values=pixels).last_hidden_state
    rows: Tensor = modules["multi_modal_projector"](found)[0]
    return rows


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


def _patch_tower_rows(modules: Any, pixels: Tensor, positions: Tensor | None) -> Tensor:
    found = modules["vision_tower"](pixel_values=pixels, pixel_position_ids=positions)
    rows: Tensor = modules["embed_vision"](found.last_hidden_state)
    return rows


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


def _patch_embedder_rows(modules: Any, pixels: Tensor, positions: Tensor | None) -> Tensor:
    found = modules["vision_embedder"](pixel_values=pixels, image_position_ids=positions)
    rows: Tensor = found.pooler_output[0]
    return rows
