"""Every published size, held against transformers and against the published parameter counts."""

from __future__ import annotations

import pytest

from exporter.models.published import published_config, published_ids, published_spec
from exporter.models.text.spec import Role

# Millions of parameters: trunk, embedding, rest (per-layer table and its projections).
PUBLISHED_MILLIONS = {
    "gemma-2b": (1982, 524, 0),
    "gemma-7b": (7751, 786, 0),
    "gemma-2-2b": (2025, 590, 0),
    "gemma-2-9b": (8324, 918, 0),
    "gemma-2-27b": (26047, 1180, 0),
    "gemma-3-270m": (100, 168, 0),
    "gemma-3-1b": (698, 302, 0),
    "gemma-3-4b": (3209, 671, 0),
    "gemma-3-12b": (10759, 1007, 0),
    "gemma-3-27b": (25600, 1410, 0),
    "gemma-4-e2b": (1836, 403, 2349 + 41),
    "gemma-4-e4b": (3891, 671, 2819 + 83),
    "gemma-4-12b": (10901, 1007, 0),
    "gemma-4-31b": (29288, 1409, 0),
}


def test_the_table_holds_exactly_the_counted_models() -> None:
    assert set(published_ids()) == set(PUBLISHED_MILLIONS)


@pytest.mark.parametrize("model_id", PUBLISHED_MILLIONS)
def test_a_published_model_has_its_published_parameter_count(model_id: str) -> None:
    spec = published_spec(model_id)
    sizes = {weight.name: weight for weight in spec.weights()}
    embedding = spec.vocab_size * spec.hidden_size
    rest = sum(
        weight.shape[0] * weight.shape[-1]
        for weight in sizes.values()
        if weight.is_matrix and (weight.role is Role.PER_LAYER_EMBEDDING or "per_layer" in weight.name)
    )
    total, counted = sum(PUBLISHED_MILLIONS[model_id]) * 1e6, spec.parameter_count()
    assert embedding == pytest.approx(PUBLISHED_MILLIONS[model_id][1] * 1e6, abs=0.6e6)
    assert rest == pytest.approx(PUBLISHED_MILLIONS[model_id][2] * 1e6, rel=0.02)
    assert counted == pytest.approx(total, abs=1.6e6, rel=0)


@pytest.mark.parametrize("model_id", PUBLISHED_MILLIONS)
def test_a_published_model_has_the_parameters_of_transformers(model_id: str) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = published_config(model_id)
    settings = {key: value for key, value in config.items() if key != "model_type"}
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(config["model_type"], **settings))
    scalars = sum(weight.role is Role.SCALAR for weight in published_spec(model_id).weights())
    theirs = sum(parameter.numel() for parameter in model.parameters()) + scalars
    assert published_spec(model_id).parameter_count() == theirs
