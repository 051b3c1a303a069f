"""Which types llama.cpp's mixes give a Gemma: not whether its library quantises well.

The library is stood in for by what the policy asks of it, sizes of blocks.
"""

from __future__ import annotations

from typing import Any, cast

import pytest

from benchmarks.ggml_library import NUMBERS_OF_256, GgmlLibrary
from benchmarks.ggml_mixes import MIXES, Mix, require_the_samples_types
from exporter.checkpoints.gguf.source import GgufSource
from exporter.checkpoints.sample import sample_path
from exporter.models.text.families import read_spec
from tests.tiny import tiny_gemma3


class BlocksAlone:
    """How many weights share a block of each type (ggml-common.h)."""

    def block(self, type: str) -> int:
        return 256 if type in {name for _, name in NUMBERS_OF_256} - {"IQ4_NL"} else 32


LIBRARY = cast(GgmlLibrary, BlocksAlone())


def types(mix: str, important: bool = False, **changes: Any) -> dict[str, str]:
    """Type of each weight of a Gemma 3 of 16 layers, whose rows are multiples of 256."""
    config = {**tiny_gemma3(), "hidden_size": 256, "intermediate_size": 512, "head_dim": 64}
    config |= {"num_hidden_layers": 16, "layer_types": ["full_attention"] * 16, **changes}
    spec = read_spec(config, "config.json")
    return {weight.name: Mix(mix, important).type_of(spec, weight, LIBRARY) for weight in spec.weights()}


def in_layers(found: dict[str, str], kind: str) -> list[str]:
    return [found[f"model.layers.{index}.{kind}.weight"] for index in range(16)]


@pytest.mark.sample
def test_q4_k_m_is_what_the_samples_own_file_has() -> None:
    require_the_samples_types(GgufSource.open(sample_path()), LIBRARY)


@pytest.mark.sample
def test_a_tensor_of_another_type_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MIXES, "Q4_K_M", "Q5_K")
    with pytest.raises(RuntimeError, match=r"q_proj\.weight: Q5_1 by our policy, Q5_0 in the sample"):
        require_the_samples_types(GgufSource.open(sample_path()), LIBRARY)


@pytest.mark.parametrize("mix", MIXES)
def test_norms_stay_float_and_the_tied_embedding_is_worth_more(mix: str) -> None:
    found = types(mix)
    assert found["model.norm.weight"] == "F32"
    assert found["model.embed_tokens.weight"] == ("Q8_0" if mix == "Q8_0" else "Q6_K")
    assert found["model.layers.5.mlp.gate_proj.weight"] == MIXES[mix]


@pytest.mark.parametrize("mix", ["Q4_K_M", "Q5_K_M"])
def test_the_medium_mixes_give_v_and_down_more_bits_early_late_and_in_every_third_layer(mix: str) -> None:
    usual, more = MIXES[mix], "Q6_K"
    expected = [more if index in {0, 1, 4, 7, 10, 13, 14, 15} else usual for index in range(16)]
    assert in_layers(types(mix), "mlp.down_proj") == expected
    assert in_layers(types(mix), "self_attn.v_proj") == expected


def test_an_importance_matrix_changes_types_of_the_first_down_projections() -> None:
    assert in_layers(types("Q4_0"), "mlp.down_proj") == ["Q4_0"] * 16
    assert in_layers(types("Q4_0", important=True), "mlp.down_proj") == ["Q4_1"] * 2 + ["Q4_0"] * 14
    assert in_layers(types("IQ4_XS"), "mlp.down_proj") == ["Q5_K"] * 2 + ["IQ4_XS"] * 14
    assert in_layers(types("IQ4_XS", important=True), "mlp.down_proj") == ["IQ4_XS"] * 16


def test_values_that_four_heads_share_are_worth_five_bits() -> None:
    assert in_layers(types("IQ4_XS"), "self_attn.v_proj") == ["IQ4_XS"] * 16
    assert in_layers(types("IQ4_XS", num_key_value_heads=1), "self_attn.v_proj") == ["Q5_K"] * 16


def test_rows_that_are_no_multiple_of_256_fall_back_to_blocks_of_32() -> None:
    found = types("Q5_K_M", hidden_size=320)
    assert found["model.embed_tokens.weight"] == "Q8_0"
    assert found["model.layers.5.mlp.gate_proj.weight"] == "Q5_1"
    assert found["model.layers.5.mlp.down_proj.weight"] == "Q5_K"  # 512 inputs
