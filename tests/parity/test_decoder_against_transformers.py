"""The one decoder against transformers, for every family, in fp32.

Matrix: family × (one prefill, chunked prefill, chunked prefill then decode), always past the window
and past the wrap of the sliding caches. Not asserted here: artifacts, quantisation, fp16.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from exporter.models.text.eager import EagerState, effective_weights, run_eagerly
from exporter.models.text.spec import ModelSpec
from tests.reference import transformers_logits
from tests.tiny import TINY_CONFIGS, WINDOW, RandomSource

TOLERANCE = 1e-4  # max abs of logits
TOKENS, CONTEXT, CHUNK = 60, 96, 7


def eager_logits(
    spec: ModelSpec, weights: dict[str, Tensor], tokens: Tensor, prefilled: int, chunk: int
) -> Tensor:
    """Logits of all tokens: chunks up to `prefilled`, then one at a time."""
    state = EagerState.empty(spec, CONTEXT, chunk)
    pieces = [*torch.split(tokens[:prefilled], chunk), *torch.split(tokens[prefilled:], 1)]
    return torch.cat([run_eagerly(spec, weights, state, piece) for piece in pieces])


def setup(config: dict[str, Any]) -> tuple[ModelSpec, dict[str, Tensor], Tensor, Tensor]:
    source = RandomSource(config)
    spec = source.components["text"].spec
    tokens = torch.randint(0, spec.vocab_size, (TOKENS,), generator=torch.Generator().manual_seed(1))
    stored = {name: torch.from_numpy(values) for name, values in source.weights.items()}
    reference = transformers_logits(config, source.weights, tokens)
    return spec, effective_weights(spec, stored), tokens, reference


@pytest.mark.parametrize("family", TINY_CONFIGS)
def test_the_decoder_computes_what_transformers_does(family: str) -> None:
    spec, weights, tokens, reference = setup(TINY_CONFIGS[family]())
    routes = {"one prefill": (TOKENS, TOKENS), "chunks": (TOKENS, CHUNK), "chunks, decode": (40, CHUNK)}
    for route, (prefilled, chunk) in routes.items():
        difference = (eager_logits(spec, weights, tokens, prefilled, chunk) - reference).abs().max()
        assert difference <= TOLERANCE, route
    assert reference.std() > 0.5, "logits of the fixture are nearly uniform: it would prove nothing"


@pytest.mark.parametrize("family", ["Gemma 2", "Gemma 3", "Gemma 4 E2B", "Gemma 4 E4B", "Gemma 4 12B"])
def test_the_fixture_has_a_full_layer_between_sliding_ones_and_wraps(family: str) -> None:
    spec = RandomSource(TINY_CONFIGS[family]()).components["text"].spec
    windows = [layer.window for layer in spec.layers]
    inner_full = [i for i in range(1, len(windows) - 1) if windows[i] is None]
    assert any(windows[i - 1] and windows[i + 1] for i in inner_full)
    assert TOKENS > 2 * (WINDOW + CHUNK)
    assert spec.tied_embedding


def test_the_e2b_fixture_shares_caches_among_double_wide_layers() -> None:
    spec = RandomSource(TINY_CONFIGS["Gemma 4 E2B"]()).components["text"].spec
    sharing = [layer for layer in spec.layers if not layer.owns_cache]
    assert len(sharing) == 8
    assert {layer.intermediate_size for layer in sharing} == {256}
    assert {layer.window is None for layer in sharing} == {True, False}
    assert all(spec.layers[layer.kv_source].window == layer.window for layer in sharing)


@pytest.mark.parametrize("damage", ["gain", "rope", "window", "query scale"])
def test_a_damaged_decoder_is_noticed(damage: str) -> None:
    config = TINY_CONFIGS["Gemma 3"]()
    _, weights, tokens, reference = setup(config)
    if damage == "gain":
        # One element only: a common factor would cancel in the norms that follow.
        weights["model.layers.2.input_layernorm.weight"][0] *= 1.5
    elif damage == "rope":
        config["rope_parameters"]["full_attention"]["rope_theta"] = 9e5
    elif damage == "window":
        config["sliding_window"] = WINDOW - 1
    else:
        config["query_pre_attn_scalar"] = 25
    changed = RandomSource(config).components["text"].spec
    difference = (eager_logits(changed, weights, tokens, 40, CHUNK) - reference).abs().max()
    assert difference > TOLERANCE


def test_a_gemma_3_with_soft_caps_is_what_transformers_makes_of_it() -> None:
    """transformers' Gemma 3 caps logits and never scores, whatever config.json says of them."""
    config = {**TINY_CONFIGS["Gemma 3"](), "attn_logit_softcapping": 0.5, "final_logit_softcapping": 2.0}
    spec, weights, tokens, reference = setup(config)
    assert (spec.attention_softcap, spec.final_softcap) == (None, 2.0)
    assert (eager_logits(spec, weights, tokens, 40, CHUNK) - reference).abs().max() <= TOLERANCE
    assert 1.0 < reference.abs().max() <= 2.0
