"""transformers' own model with all weights in memory, float32: to let it write, or to train a part of it.

Not about comparing, which borrows weights a module at a time (`exporter.reference.streamed`).
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from exporter.reference.weights import ReferenceWeights

HEAD = "lm_head.weight"


def whole_model(weights: ReferenceWeights) -> Any:
    """The model, nothing in it trainable. Exits where model and weights have not the same tensors."""
    settings = dict(weights.architecture)
    model_type = settings.pop("model_type")
    model = AutoModelForCausalLM.from_config(
        AutoConfig.for_model(model_type, **settings), dtype=torch.float32, attn_implementation="eager"
    ).eval()
    state = {name: weights.rows(name, 0, shape[0]).clone() for name, shape in weights.shapes.items()}
    missing, unexpected = model.load_state_dict(state, strict=False, assign=True)
    if unexpected or not set(missing) <= {HEAD}:
        sys.exit(f"{weights.description}: not the tensors of {model_type}: {missing} {unexpected}")
    model.tie_weights()
    return model.requires_grad_(False)
