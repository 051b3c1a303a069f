"""Tiny models of every family made to say given tokens, one after the other, whatever was said before.

The attention and every MLP but the last add nothing; the last one maps a token of the course to the token
behind it. Not about how a runtime is driven.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from exporter.models.text.spec import Role
from tests.tiny import RandomSource

GAIN = 16.0  # of the last MLP over the residual stream: what the last token was fades
ASIDE = 0.1  # length of every embedding off the course, so that its logit is small
SILENCED = ("o_proj.weight", "down_proj.weight", "per_layer_projection.weight")


def make_speak(source: RandomSource, course: Sequence[int]) -> None:
    """Change weights in place: behind each token of the course the next one is the most likely.

    course: distinct tokens, fewer than the hidden size. Behind the last comes the first: what does not stop
    begins again.
    """
    spec = source.components["text"].spec
    assert len(course) == len(set(course)) < spec.hidden_size
    weights, last = source.weights, f"model.layers.{len(spec.layers) - 1}."
    unit = 0.0 if spec.norm_adds_one else 1.0
    for weight in spec.weights():
        if weight.role is Role.NORM:
            weights[weight.name][:] = unit
        elif weight.role is Role.SCALAR:
            weights[weight.name][:] = 1.0
        elif weight.name.endswith(SILENCED):
            weights[weight.name][:] = 0.0
    if (after := f"{last}post_feedforward_layernorm.weight") in weights:
        weights[after] += GAIN - 1.0
    embedding = weights["model.embed_tokens.weight"]
    embedding *= ASIDE / np.linalg.norm(embedding, axis=1, keepdims=True)
    gate, up, down = (weights[f"{last}mlp.{name}_proj.weight"] for name in ("gate", "up", "down"))
    gate[:], up[:] = 0.0, 0.0
    for i, token in enumerate(course):
        # Every token of the course has a dimension and a channel of its own.
        embedding[token] = 0.0
        embedding[token, i] = gate[i, i] = up[i, i] = 1.0
        down[(i + 1) % len(course), i] = 2.0
