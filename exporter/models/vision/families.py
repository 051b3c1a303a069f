"""`vision_config` and the ids around it to a `VisionSpec`: one function for each kind of tower.

As strict as the text's readers: a key is read, known to change nothing, or refused. Not about tensors, nor
about what a processor does to a picture. Sources: transformers 5.23 `configuration_siglip.py`,
`configuration_gemma4.py`, `configuration_gemma4_unified.py` and the published config.json files.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporter.errors import SpecError
from exporter.models.config import StrictConfig
from exporter.models.text.families.limits import refuse_impossible_numbers
from exporter.models.tower_config import remarks_on_defaults, require_fitting, with_defaults
from exporter.models.vision.defaults import GEMMA3_DEFAULTS, GEMMA4_DEFAULTS, THETA, VISION_DEFAULTS
from exporter.models.vision.spec import (
    CHANNELS,
    MOST_SOFT_TOKENS,
    BlockLayers,
    ImageTokens,
    PatchEmbedderSpec,
    PatchTowerSpec,
    SiglipSpec,
    VisionSpec,
)
from runtimes.excerpt import excerpt

VISION = "vision_config"
LAYER_NORM_EPS = 1e-5  # torch's own, of the embedder's three norms: no key says it
# What a tower's processor goes by, and what other tools note; the tower computes without them.
OF_PROCESSORS = ("default_output_length", "num_soft_tokens", "max_position_embeddings", "global_head_dim")


@dataclass(frozen=True)
class VisionRead:
    """remarks: what config.json does not say and was taken from transformers, a sentence, if anything."""

    spec: VisionSpec
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class _Around:
    """What a tower's reader is given beside its own config: the whole file's, the text's width, and in
    which layers the tokens of an image see each other."""

    whole: StrictConfig
    text_hidden_size: int
    vocab_size: int
    blocks: BlockLayers


def has_vision(raw: Mapping[str, Any]) -> bool:
    """Whether a config.json describes a tower at all: text models are saved with null there."""
    return raw.get(VISION) is not None


def read_vision(
    raw: Mapping[str, Any], text: Mapping[str, Any], where: str, file: Path | None = None
) -> VisionRead:
    """The tower of a whole config.json, which has one.

    text: its text_config as transformers' class has it. where, file: as `StrictConfig`. Raises SpecError
    for a tower of another kind than the family's, and for keys that are wrong, unknown or impossible.
    """
    model_type = str(raw["model_type"])
    kind, defaults, reader = FAMILIES[model_type]
    tower = StrictConfig(where, raw, file).child(VISION)
    said = tower.raw.get("model_type", kind)
    if said != kind:
        raise SpecError(
            f"{tower.where}.model_type",
            f"{excerpt(said)} is an image tower this version does not know; {model_type} has {kind}",
            "give --components text, which exports the text model alone",
        )
    of_tower, own = with_defaults(tower.raw, VISION_DEFAULTS[kind]), with_defaults(raw, defaults)
    refuse_impossible_numbers(of_tower, tower.where)
    config = StrictConfig(tower.where, of_tower, file, tower.keys)
    sees: BlockLayers = "sliding" if text.get("use_bidirectional_attention") == "vision" else "none"
    blocks: BlockLayers = "all" if model_type == "gemma3" else sees
    around = _Around(
        StrictConfig(where, own, file), int(text["hidden_size"]), int(text["vocab_size"]), blocks
    )
    config.ignore(*OF_PROCESSORS)
    spec = reader(config, around)
    config.refuse_unread()
    taken = {
        **{f"{VISION}.{key}": value for key, value in of_tower.items() if key not in tower.raw},
        **{key: value for key, value in own.items() if key not in raw},
    }
    return VisionRead(spec, remarks_on_defaults(taken))


def _read_siglip(config: StrictConfig, around: _Around) -> SiglipSpec:
    config.expect("num_channels", CHANNELS)
    config.expect("hidden_act", "gelu_pytorch_tanh")
    config.ignore("vision_use_head")  # Gemma takes what comes before the head
    hidden, heads = config.integer("hidden_size"), config.integer("num_attention_heads")
    size, patch = config.integer("image_size"), config.integer("patch_size")
    eps = config.number("layer_norm_eps")
    require_fitting(
        hidden % heads == 0, config, "hidden_size", f"{hidden} does not split into {heads} heads"
    )
    require_fitting(
        size % patch == 0, config, "image_size", f"{size} does not split into patches of {patch}"
    )
    soft, key = around.whole.integer("mm_tokens_per_image"), "mm_tokens_per_image"
    pooled, side = math.isqrt(soft), size // patch
    fits = pooled * pooled == soft and side % pooled == 0
    require_fitting(
        fits, around.whole, key, f"{soft} are no square that {side} x {side} patches are pooled to"
    )
    return SiglipSpec(
        hidden_size=hidden,
        intermediate_size=config.integer("intermediate_size"),
        layers=config.integer("num_hidden_layers"),
        heads=heads,
        image_size=size,
        patch_size=patch,
        norm_eps=eps,
        projector_eps=eps,
        soft_tokens=soft,
        text_hidden_size=around.text_hidden_size,
        tokens=_tokens(around, line_breaks=True),
    )


def _read_patch_tower(config: StrictConfig, around: _Around) -> PatchTowerSpec:
    config.expect("hidden_activation", "gelu_pytorch_tanh")
    config.expect("attention_bias", False, None)
    heads = config.integer("num_attention_heads")
    config.expect("num_key_value_heads", heads)
    head_dim, kernel = config.integer("head_dim"), config.integer("pooling_kernel_size")
    require_fitting(
        head_dim % 4 == 0, config, "head_dim", f"{head_dim} has no two halves that turn in pairs"
    )
    return PatchTowerSpec(
        hidden_size=config.integer("hidden_size"),
        intermediate_size=config.integer("intermediate_size"),
        layers=config.integer("num_hidden_layers"),
        heads=heads,
        head_dim=head_dim,
        patch_size=config.integer("patch_size"),
        kernel=kernel,
        norm_eps=config.number("rms_norm_eps"),
        theta=_theta(config),
        # No picture has more patches in a row than this, whatever its budget.
        positions=min(config.integer("position_embedding_size"), kernel * MOST_SOFT_TOKENS),
        clipped=config.boolean("use_clipped_linears"),
        standardize=config.boolean("standardize"),
        text_hidden_size=around.text_hidden_size,
        tokens=_tokens(around, line_breaks=False),
    )


def _read_patch_embedder(config: StrictConfig, around: _Around) -> PatchEmbedderSpec:
    patch, kernel = config.integer("patch_size"), config.integer("pooling_kernel_size")
    width = config.integer("mm_embed_dim")
    config.expect("model_patch_size", patch * kernel)
    config.expect("output_proj_dims", width)
    return PatchEmbedderSpec(
        width=width,
        patch_size=patch,
        kernel=kernel,
        layer_norm_eps=LAYER_NORM_EPS,
        norm_eps=config.number("rms_norm_eps"),
        positions=config.integer("mm_posemb_size"),
        text_hidden_size=around.text_hidden_size,
        tokens=_tokens(around, line_breaks=False),
    )


Reader = Callable[[StrictConfig, _Around], VisionSpec]
# model_type of the whole model, to that of its tower, its class's defaults, and who reads it.
FAMILIES: Mapping[str, tuple[str, Mapping[str, int], Reader]] = {
    "gemma3": ("siglip_vision_model", GEMMA3_DEFAULTS, _read_siglip),
    "gemma4": ("gemma4_vision", GEMMA4_DEFAULTS, _read_patch_tower),
    "gemma4_unified": ("gemma4_unified_vision", GEMMA4_DEFAULTS, _read_patch_embedder),
}


def _theta(config: StrictConfig) -> float:
    """Published files call the two-dimensional RoPE "default", transformers 5.23 "axial"."""
    if not config.has("rope_parameters"):
        return THETA
    ropes = config.child("rope_parameters")
    ropes.expect("rope_type", "default", "axial")
    theta = ropes.number("rope_theta") if ropes.has("rope_theta") else THETA
    ropes.refuse_unread()
    return theta


def _tokens(around: _Around, line_breaks: bool) -> ImageTokens:
    found: dict[str, int] = {}
    for key in ("image", "boi", "eoi"):
        index, id = f"{key}_token_index", f"{key}_token_id"
        named = id if around.whole.has(id) else index
        found[key] = around.whole.integer(named)
        for other in (index, id):
            around.whole.expect(other, found[key], None)
        if found[key] >= around.vocab_size:
            require_fitting(
                False, around.whole, named, f"{found[key]} is outside {around.vocab_size} tokens"
            )
    if len(set(found.values())) < len(found):
        require_fitting(
            False, around.whole, "image_token_id", f"three ids that differ are wanted, not {found}"
        )
    return ImageTokens(found["image"], found["boi"], found["eoi"], line_breaks, around.blocks)
