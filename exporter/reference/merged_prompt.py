"""`MergedPrompt`: tokens, and rows in the places of some, as transformers' models take them.

What the models with towers do between these and their text model, over a text model whose weights visit:
    (1) embeddings of the tokens, the pad token's at rows; these take those places as they are, not scaled
    (2) what each layer adds for a token (Gemma 4 E2B and E4B): the pad token's at rows
    (3) masks in which the tokens of an image see each other, by the functions of that very model, where it
        has any: Gemma 3 always, Gemma 4 where its text model says "vision"; those of a sound never do
Not about where rows come from (`reference_tower`).
"""

from __future__ import annotations

import sys
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from runtimes.multimodal.session import PlacedRows, RowKind
from runtimes.session import Tokens

TYPES: Mapping[RowKind, int] = {"image": 1, "sound": 3}
"""transformers' own, text being 0."""
ALWAYS_BOTH_WAYS = "gemma3_text"


@dataclass(frozen=True)
class MergedPrompt:
    """tokens: [tokens]; those in the places of rows are not looked at. pad_token: the text model's."""

    tokens: Tokens
    placed: tuple[PlacedRows, ...]
    pad_token: int

    @property
    def alike(self) -> Hashable:
        """Prompts of which this is the same have the same masks."""
        return len(self.tokens), tuple((each.start, each.stop, each.of) for each in self.placed)

    def called(self, text_model: Any) -> dict[str, Any]:
        """What transformers' text model is to be called with."""
        types = torch.zeros((1, len(self.tokens)), dtype=torch.long)
        for each in self.placed:
            types[0, each.start : each.stop] = TYPES[each.of]
        # (1)
        ids = torch.as_tensor(self.tokens).long()[None].masked_fill(types > 0, self.pad_token)
        embedded = text_model.embed_tokens(ids).clone()
        for each in self.placed:
            embedded[0, each.start : each.stop] = torch.as_tensor(each.rows)
        found: dict[str, Any] = {"inputs_embeds": embedded}
        # (2)
        if getattr(text_model.config, "hidden_size_per_layer_input", 0):
            found["per_layer_inputs"] = text_model.get_per_layer_inputs(ids)
        # (3)
        if _both_ways(text_model.config):
            found["attention_mask"] = _masks(text_model, types, embedded)
        return found


def _both_ways(config: Any) -> bool:
    if config.model_type == ALWAYS_BOTH_WAYS:
        return True
    return bool(getattr(config, "use_bidirectional_attention", None) == "vision")


def _masks(text_model: Any, types: Tensor, embedded: Tensor) -> dict[str, Tensor]:
    modelling = sys.modules[type(text_model).__module__]
    blocks = modelling.get_block_sequence_ids_for_mask(types, device=embedded.device)
    found: dict[str, Tensor] = modelling.create_masks_for_vision_model(
        config=text_model.config,
        inputs_embeds=embedded,
        attention_mask=None,
        past_key_values=None,
        position_ids=torch.arange(embedded.shape[1])[None],
        block_sequence_ids=blocks,
    )
    return found
