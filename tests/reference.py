"""transformers as the reference of tiny models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def transformers_logits(
    config: Mapping[str, Any], weights: Mapping[str, NDArray[np.float32]], tokens: Tensor
) -> Tensor:
    """Logits [tokens, vocab] of transformers' own model with these canonical weights, fp32."""
    with torch.no_grad():
        logits: Tensor = transformers_model(config, weights)(tokens[None], use_cache=False).logits[0]
    return logits


def transformers_model(config: Mapping[str, Any], weights: Mapping[str, NDArray[np.float32]]) -> Any:
    """transformers' own model with these canonical weights, fp32."""
    from transformers import AutoConfig, AutoModelForCausalLM

    settings = {key: value for key, value in config.items() if key != "model_type"}
    model = AutoModelForCausalLM.from_config(
        AutoConfig.for_model(config["model_type"], **settings), attn_implementation="eager"
    ).eval()
    state = {name: torch.from_numpy(values.copy()) for name, values in weights.items()}
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected, unexpected
    assert set(missing) <= {"lm_head.weight"}, missing
    model.tie_weights()
    return model
