"""transformers' whole models with towers, tiny, and what `exporter.reference` is lent of the same weights.

Not about checkpoints on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tests.tiny import tiny_gemma3, tiny_gemma4_12b, tiny_gemma4_e2b
from tests.tiny_encoders import SOUND_SOFT, TINY_ENCODERS, Features, TinyEncoder
from tests.tiny_towers import SOFT, TINY_TOWERS, TinyTower


@dataclass(frozen=True)
class HeldWeights:
    """Satisfies `ReferenceWeights` from memory: of a text model, with a tower's beside it."""

    description: str
    architecture: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    text: frozenset[str]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: tuple(self.tensors[name].shape) for name in self.text}

    def rows(self, name: str, start: int, stop: int) -> Tensor:
        return self.tensors[name][start:stop].clone()

    def gather(self, name: str, wanted: Sequence[int]) -> Tensor:
        return self.tensors[name][list(wanted)].clone()


@dataclass(frozen=True)
class WholeModel:
    """model: transformers' class for text, images and sounds. weights: the same, by canonical name.
    encoder: None where it does not hear."""

    model: Any
    tower: TinyTower
    weights: HeldWeights
    encoder: TinyEncoder | None

    def logits(
        self, tokens: Tensor, pixels: Tensor, positions: Tensor | None, sound: Features | None = None
    ) -> Tensor:
        """[tokens, vocab], of the whole model: pixels [images, ...].

        Masks are those its `generate` makes beforehand for a static cache: called without, 5.23's
        Gemma4UnifiedModel makes others, of every layer (docs/adr/0034).
        """
        types = ((tokens == SOFT).long() + 3 * (tokens == SOUND_SOFT).long())[None]
        masks = self.model.create_masks_for_generate(
            config=self.model.config,
            inputs_embeds=torch.zeros(1, len(tokens), 0),
            attention_mask=None,
            past_key_values=None,
            position_ids=torch.arange(len(tokens))[None],
            **{self.types: types},
        )
        named: dict[str, Any] = {self.types: types, "attention_mask": masks}
        if positions is not None:
            named["image_position_ids"] = positions
        if sound is not None:
            named |= {"input_features": sound.features, "input_features_mask": sound.sound}
        with torch.no_grad():
            found: Tensor = self.model(
                input_ids=tokens[None], pixel_values=pixels, use_cache=False, **named
            ).logits[0]
        return found

    @property
    def types(self) -> str:
        """What this family calls types of tokens."""
        return "token_type_ids" if "mm_tokens_per_image" in self.tower.config else "mm_token_type_ids"


def whole_model(kind: str, hears: bool = False) -> WholeModel:
    """One of `TINY_TOWERS`, and of `TINY_ENCODERS` where it hears, before a text model of its family."""
    tower, encoder = TINY_TOWERS[kind](), TINY_ENCODERS[kind]() if hears else None
    model = _MODELS[kind](tower, None if encoder is None else dict(encoder.config))
    model.set_attn_implementation("eager")
    generator = torch.Generator().manual_seed(5)
    text = model.model.language_model.state_dict()
    with torch.no_grad():
        for tensor in text.values():
            spread = 2.0 * tensor.shape[-1] ** -0.5 if tensor.ndim > 1 else 0.3
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * spread + (tensor.ndim < 2))
        own = model.model.state_dict()
        for name, tensor in tower.stored.items():
            own[name.replace("vision_embedder.", "embed_vision.")].copy_(tensor)
        for name, tensor in () if encoder is None else encoder.stored.items():
            own[name].copy_(tensor)
    model.tie_weights()
    named = {f"model.{name}": tensor.clone() for name, tensor in text.items()}
    architecture = model.config.get_text_config().to_dict() | {"tie_word_embeddings": True}
    heard = {} if encoder is None else encoder.weights
    held = {**named, **tower.weights, **heard}
    weights = HeldWeights(kind, architecture, held, frozenset(named))
    return WholeModel(model.eval(), tower, weights, encoder)


Audio = dict[str, Any] | None


def _gemma3(tower: TinyTower, audio: Audio) -> Any:
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    config = Gemma3Config(text_config=tiny_gemma3(), image_token_id=SOFT, **_plain(tower))
    return Gemma3ForConditionalGeneration(config)


def _gemma4(text: Callable[[], dict[str, Any]]) -> Callable[[TinyTower, Audio], Any]:
    def make(tower: TinyTower, audio: Audio) -> Any:
        from transformers import Gemma4Config, Gemma4ForConditionalGeneration

        ids = {"image_token_id": SOFT, "audio_token_id": SOUND_SOFT}
        config = Gemma4Config(text_config=text(), audio_config=audio, **ids, **_plain(tower))
        return Gemma4ForConditionalGeneration(config)

    return make


def _gemma4_31b() -> dict[str, Any]:
    return {
        **tiny_gemma4_12b(),
        "architectures": ["Gemma4ForCausalLM"],
        "model_type": "gemma4_text",
        "hidden_size_per_layer_input": 0,
        "enable_moe_block": False,
        "use_bidirectional_attention": "vision",
    }


def _gemma4_unified(tower: TinyTower, audio: Audio) -> Any:
    from transformers import Gemma4UnifiedConfig, Gemma4UnifiedForConditionalGeneration

    config = Gemma4UnifiedConfig(
        text_config=tiny_gemma4_12b() | {"use_bidirectional_attention": "vision"},
        image_token_id=SOFT,
        audio_token_id=SOUND_SOFT,
        audio_config=audio,
        **_plain(tower),
    )
    return Gemma4UnifiedForConditionalGeneration(config)


def _plain(tower: TinyTower) -> dict[str, Any]:
    """A copy: transformers' classes take keys out of what they are given."""
    return {
        key: dict(value) if isinstance(value, Mapping) else value for key, value in tower.config.items()
    }


_MODELS: dict[str, Callable[[TinyTower, Audio], Any]] = {
    "Gemma 3": _gemma3,
    "Gemma 4 E2B": _gemma4(tiny_gemma4_e2b),
    "Gemma 4 31B": _gemma4(_gemma4_31b),
    "Gemma 4 12B": _gemma4_unified,
}
