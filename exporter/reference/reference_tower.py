"""`ReferenceTower`: transformers' own image tower, its weights visiting one module at a time.

transformers builds the modules without storage and does all of the computing, as `StreamedReference` has it
for text. Memory is the largest module's weights and the activations of one picture. Independent of
`exporter.models.vision` on purpose: a tower of ours and this one agree only where both are right. Not about
pictures before they are prepared, nor about what rows are used for (`merged_prompt`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from accelerate import init_empty_weights  # type: ignore[import-untyped]  # ships no types
from torch import Tensor, nn

from exporter.errors import ReferenceModelError
from exporter.models.vision.spec import VisionSpec
from exporter.reference.lending import Lender
from exporter.reference.tower_weights import AXES, CONVOLUTION, TABLES, TowerWeights, canonical_name
from exporter.reference.weights import ReferenceWeights
from runtimes.images.prepared import ImageRows, PreparedImage

Forward = Callable[[nn.Module, Tensor, Tensor | None], Tensor]
"""(modules, pixels, positions) to rows [soft tokens, text's width]."""


class ReferenceTower:
    """transformers' tower of `config`, which is vision_config as config.json has it. spec: for what stands
    elsewhere (the text model's width, Gemma 3's soft tokens) and for how many rows of positions are kept.

    In float32. Raises ReferenceModelError for a kind of tower that is not known, and where the weights have
    no tensor of that name and size.
    """

    def __init__(self, weights: ReferenceWeights, config: Mapping[str, Any], spec: VisionSpec) -> None:
        kind = config.get("model_type")
        if kind not in _TOWERS:
            raise ReferenceModelError(
                f"vision_config of {weights.description}",
                f"is a {kind}, and transformers' modules are known of {', '.join(_TOWERS)}",
                "export with --components text",
            )
        make, self._forward = _TOWERS[kind]
        with init_empty_weights(include_buffers=False):  # parameters have no storage, RoPE tables do
            self.modules: nn.Module = make(dict(config), spec).eval()
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

    def rows(self, image: PreparedImage) -> ImageRows:
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


def _siglip(config: dict[str, Any], spec: Any) -> nn.Module:
    from transformers import Gemma3Config, SiglipVisionModel
    from transformers.models.gemma3.modeling_gemma3 import Gemma3MultiModalProjector

    whole = Gemma3Config(
        text_config={"hidden_size": spec.text_hidden_size},
        vision_config=config | {"vision_use_head": False},  # the head pools what Gemma 3 does not look at
        mm_tokens_per_image=spec.soft_tokens,
    )
    whole.vision_config._attn_implementation = "sdpa"  # scores of 4096 patches are a gigabyte otherwise
    return nn.ModuleDict(
        {
            "vision_tower": SiglipVisionModel(whole.vision_config),
            "multi_modal_projector": Gemma3MultiModalProjector(whole),
        }
    )


def _siglip_rows(modules: Any, pixels: Tensor, positions: Tensor | None) -> Tensor:
    found: Tensor = modules["vision_tower"](pixel_values=pixels).last_hidden_state
    rows: Tensor = modules["multi_modal_projector"](found)[0]
    return rows


def _patch_tower(config: dict[str, Any], spec: Any) -> nn.Module:
    from transformers import Gemma4Config
    from transformers.models.gemma4.modeling_gemma4 import Gemma4MultimodalEmbedder, Gemma4VisionModel

    whole = Gemma4Config(text_config={"hidden_size": spec.text_hidden_size}, vision_config=config)
    whole.vision_config.position_embedding_size = spec.positions
    whole.vision_config._attn_implementation = "sdpa"
    return nn.ModuleDict(
        {
            "vision_tower": Gemma4VisionModel(whole.vision_config),
            "embed_vision": Gemma4MultimodalEmbedder(whole.vision_config, whole.text_config),
        }
    )


def _patch_tower_rows(modules: Any, pixels: Tensor, positions: Tensor | None) -> Tensor:
    found = modules["vision_tower"](pixel_values=pixels, pixel_position_ids=positions)
    rows: Tensor = modules["embed_vision"](found.last_hidden_state)
    return rows


def _patch_embedder(config: dict[str, Any], spec: Any) -> nn.Module:
    from transformers.models.gemma4_unified.configuration_gemma4_unified import (
        Gemma4UnifiedTextConfig,
        Gemma4UnifiedVisionConfig,
    )
    from transformers.models.gemma4_unified.modeling_gemma4_unified import Gemma4UnifiedVisionEmbedder

    own = {key: value for key, value in config.items() if key != "model_type"}
    own["mm_posemb_size"] = spec.positions
    return nn.ModuleDict(
        {
            "vision_embedder": Gemma4UnifiedVisionEmbedder(
                Gemma4UnifiedVisionConfig(**own), Gemma4UnifiedTextConfig(hidden_size=spec.text_hidden_size)
            )
        }
    )


def _patch_embedder_rows(modules: Any, pixels: Tensor, positions: Tensor | None) -> Tensor:
    found = modules["vision_embedder"](pixel_values=pixels, image_position_ids=positions)
    rows: Tensor = found.pooler_output[0]
    return rows


_TOWERS: dict[str, tuple[Callable[[dict[str, Any], Any], nn.Module], Forward]] = {
    "siglip_vision_model": (_siglip, _siglip_rows),
    "gemma4_vision": (_patch_tower, _patch_tower_rows),
    "gemma4_unified_vision": (_patch_embedder, _patch_embedder_rows),
}
