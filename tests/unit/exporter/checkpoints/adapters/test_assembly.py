"""Adapters that do not fit their base, their config or themselves, each refused with what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exporter.checkpoints.adapters.source import LoraSource
from exporter.errors import CheckpointError
from tests.tiny import RandomSource, tiny_gemma3, tiny_gemma4_e2b
from tests.unit.exporter.checkpoints.adapters.written_adapters import (
    ADAPTED,
    DELTA,
    EMBED,
    HEAD,
    MODULE,
    OUTER,
    RANK,
    STEM,
    Tensors,
    factors,
    of_embedding,
    opened,
    refused,
    values,
    write_adapter,
)

NORM = f"{OUTER}model.layers.3.input_layernorm"


def test_an_adapter_that_changes_nothing_is_refused(tmp_path: Path) -> None:
    down, up = factors()
    for tensors, settings in (
        ({down: factors()[down], up: np.zeros((128, RANK), np.float32)}, {}),
        ({down: np.zeros((RANK, 64), np.float32), up: factors()[up]}, {}),
        (factors(), {"lora_alpha": 0}),
        (factors() | {f"{EMBED}.weight": values(512, 64)}, {"lora_alpha": 0}),
    ):
        refused(tmp_path, "changes no weight: every update is zero", tensors, **settings)


def test_an_adapter_of_another_model_is_refused(tmp_path: Path) -> None:
    error = refused(
        tmp_path,
        r"it adapts model\.layers\.7\..*, which tiny-gemma does not have",
        factors("model.layers.7.self_attn.q_proj"),
    )
    assert error.then == "give the base model the adapter was trained on"


@pytest.mark.parametrize(
    ("tensors", "settings", "complaint"),
    [
        (factors(rank=8), {}, r"lora_A\.weight is of shape \[8, 64\], expected \[4, 64\]"),
        (factors(), {"r": 8}, r"lora_A\.weight is of shape \[4, 64\], expected \[8, 64\]"),
        (factors(), {"rank_pattern": {"q_proj": 2}}, r"is of shape \[4, 64\], expected \[2, 64\]"),
        (factors(inputs=32), {}, r"lora_A\.weight is of shape \[4, 32\], expected \[4, 64\]"),
        (factors(out=64), {}, r"lora_B\.weight is of shape \[64, 4\], expected \[128, 4\]"),
        ({f"{STEM}.lora_A.weight": values(4)}, {}, r"is of shape \[4\], expected \[4, 64\]"),
        ({f"{STEM}.lora_A.weight": values(4, 64)}, {}, r"lora_B\.weight is missing of model\.layers\.3"),
        ({f"{STEM}.lora_B.weight": values(128, 4)}, {}, r"lora_A\.weight is missing of model\.layers\.3"),
        (factors(), {"use_dora": True}, r"lora_magnitude_vector is missing of model\.layers\.3"),
        (
            factors() | {f"{STEM}.lora_magnitude_vector": values(64)},
            {"use_dora": True},
            r"lora_magnitude_vector is of shape \[64\], expected \[128\]",
        ),
        (
            factors() | {f"{STEM}.lora_magnitude_vector": values(128)},
            {},
            "is a DoRA's, and use_dora is false",
        ),
    ],
)
def test_factors_that_do_not_fit_are_refused(
    tmp_path: Path, tensors: Tensors, settings: dict[str, Any], complaint: str
) -> None:
    refused(tmp_path, complaint, tensors, **settings)


@pytest.mark.parametrize(
    "module", ["model.norm", "model.layers.3.input_layernorm", "model.layers.0.self_attn.q_norm"]
)
def test_factors_of_a_norm_are_refused(tmp_path: Path, module: str) -> None:
    tensors = factors() | {f"{OUTER}{module}.lora_A.weight": values(4, 64)}
    refused(tmp_path, rf"is a factor, and {module}\.weight is a norm", tensors, target_modules="all-linear")


@pytest.mark.parametrize(
    "settings",
    [
        {"target_modules": ["k_proj"]},
        {"target_modules": []},
        {"target_modules": r".*layers\.2\..*"},
        {"target_modules": ["q_proj"], "exclude_modules": ["self_attn.q_proj"]},
        {"target_modules": ["q_proj"], "layers_to_transform": [2]},
        {"target_modules": ["q_proj"], "modules_to_save": ["self_attn"]},
    ],
)
def test_factors_that_the_config_does_not_speak_of_are_refused(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    refused(
        tmp_path,
        rf"it has factors of {ADAPTED}, and target_modules.*peft would drop",
        factors(),
        **settings,
    )


def test_matrices_that_the_config_means_and_the_file_lacks_are_remarked(tmp_path: Path) -> None:
    source = opened(tmp_path, factors(), target_modules=["q_proj"])
    assert source.remarks == (
        "The adapter holds no factors of 6 of the matrices its target_modules mean "
        "(model.layers.0.self_attn.q_proj.weight first): they are the base's.",
    )


@pytest.mark.parametrize(
    ("named", "remarked"),
    [
        (None, None),
        ("google/tiny-gemma", None),
        ("/home/me/Tiny_Gemma/", None),
        (
            "unsloth/gemma-3-1b-it",
            "adapter_config.json names unsloth/gemma-3-1b-it; the adapter is merged into",
        ),
        (
            "/home/me/models/<b>other</b>",
            "adapter_config.json names b-; the adapter is merged into tiny-gemma.",
        ),
    ],
)
def test_another_base_than_the_adapter_names_is_remarked(
    tmp_path: Path, named: str | None, remarked: str | None
) -> None:
    everywhere = {
        name: each for i in range(7) for name, each in factors(MODULE.replace("3", str(i))).items()
    }
    source = opened(tmp_path, everywhere, base_model_name_or_path=named)
    assert len(source.remarks) == (remarked is not None)
    assert all(remark.startswith(str(remarked)) for remark in source.remarks)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("part", ["lora_A", "lora_B"])
def test_a_factor_that_is_no_number_is_refused_with_its_tensor(
    tmp_path: Path, part: str, bad: float
) -> None:
    tensors = factors()
    tensors[f"{STEM}.{part}.weight"][3, 2] = bad
    refused(tmp_path, rf"tensor {STEM}\.{part}\.weight holds {bad} at \[3, 2\]", tensors)


@pytest.mark.parametrize("name", [f"{EMBED}.weight", f"{EMBED}.{DELTA}", f"{NORM}.weight"])
def test_a_trained_weight_that_is_no_number_is_refused_with_its_tensor(tmp_path: Path, name: str) -> None:
    shapes = {f"{EMBED}.weight": (512, 64), f"{EMBED}.{DELTA}": (2, 64), f"{NORM}.weight": (64,)}
    settings: dict[str, Any] = {
        f"{EMBED}.weight": {"modules_to_save": ["embed_tokens"]},
        f"{EMBED}.{DELTA}": {"trainable_token_indices": [1, 2]},
        f"{NORM}.weight": {"modules_to_save": ["layers.3.input_layernorm"]},
    }
    bad = values(*shapes[name])
    bad.flat[-1] = np.nan
    refused(tmp_path, rf"tensor {name} holds nan", factors() | {name: bad}, **settings[name])


def test_numbers_in_another_type_than_floats_are_refused(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    write_adapter(tmp_path)
    stored = {name: torch.from_numpy(each).double() for name, each in factors().items()}
    save_file(stored, tmp_path / "adapter_model.safetensors")
    with pytest.raises(CheckpointError, match=r"lora_A\.weight: is stored as F64"):
        LoraSource.open(RandomSource(tiny_gemma3()), tmp_path)


@pytest.mark.parametrize(
    ("tensors", "complaint"),
    [
        ({f"{STEM}.weight": values(128, 64)}, "is a whole weight, and modules_to_save does not name it"),
        ({f"{STEM}.base_layer.weight": values(128, 64)}, "is a whole weight, and modules_to_save does not"),
        ({f"{NORM}.weight": values(64)}, "is a whole weight, and modules_to_save does not name it"),
        ({f"{EMBED}.weight": values(512, 32)}, r"is of shape \[512, 32\], expected \[512, 64\]"),
        ({f"{EMBED}.weight": values(500, 64)}, r"is of shape \[500, 64\], expected \[512, 64\]"),
        ({f"{EMBED}.weight": values(64)}, r"is of shape \[64\], expected \[512, 64\]"),
        (
            {f"{EMBED}.weight": values(512, 64), f"{EMBED}.base_layer.weight": values(512, 64, seed=1)},
            "are the same weight and differ",
        ),
        (
            {f"{EMBED}.weight": values(512, 64), f"{HEAD}.weight": values(512, 64, seed=1)},
            "embedding and head are tied, and tensors .* are one weight and differ",
        ),
    ],
)
def test_whole_weights_that_nobody_named_are_refused(
    tmp_path: Path, tensors: Tensors, complaint: str
) -> None:
    refused(tmp_path, complaint, factors() | tensors)


@pytest.mark.parametrize(
    ("settings", "key", "module"),
    [
        ({"modules_to_save": ["lm_head"]}, "modules_to_save", "lm_head"),
        ({"modules_to_save": ["embed_tokens"]}, "modules_to_save", "model.embed_tokens"),
        ({"modules_to_save": ["layers.2.mlp"]}, "modules_to_save", "model.layers.2.mlp.gate_proj"),
        (
            {"modules_to_save": ["lm_head"], "ensure_weight_tying": True},
            "modules_to_save",
            "lm_head",
        ),
        ({"trainable_token_indices": [4]}, "trainable_token_indices", "model.embed_tokens"),
        ({"trainable_token_indices": {"lm_head": [4]}}, "trainable_token_indices", "lm_head"),
    ],
)
def test_what_was_trained_and_is_not_there_is_named(
    tmp_path: Path, settings: dict[str, Any], key: str, module: str
) -> None:
    refused(
        tmp_path,
        rf"{key} of adapter_config\.json names {module}, and what was trained",
        factors(),
        **settings,
    )


@pytest.mark.parametrize(
    ("rows", "tokens", "complaint"),
    [
        (3, [1, 2], r"is of shape \[3, 64\], expected \[2, 64\] by trainable_token_indices"),
        (2, None, r"is of shape \[2, 64\], expected \[0, 64\] by trainable_token_indices"),
        (2, [1, 512], r"trains token 512 of model\.embed_tokens\.weight, which has 512 rows"),
        (2, {"lm_head": [1, 2]}, r"expected \[0, 64\] by trainable_token_indices"),
        (
            2,
            {"embed_tokens": [1, 2], "embed_positions": [3]},
            "names embed_positions, which the base does not",
        ),
    ],
)
def test_token_rows_that_do_not_fit_are_refused(
    tmp_path: Path, rows: int, tokens: object, complaint: str
) -> None:
    tensors = factors() | {f"{EMBED}.{DELTA}": values(rows, 64)}
    refused(tmp_path, complaint, tensors, trainable_token_indices=tokens)


def test_rows_added_to_a_gemma_with_two_tables_are_refused(tmp_path: Path) -> None:
    write_adapter(tmp_path, factors() | {f"{EMBED}.weight": values(515, 64)})
    with pytest.raises(
        CheckpointError, match=r"added rows of model\.embed_tokens_per_layer\.weight are not in it"
    ):
        LoraSource.open(RandomSource(tiny_gemma4_e2b()), tmp_path)


def test_factors_of_added_rows_need_the_rows(tmp_path: Path) -> None:
    refused(
        tmp_path,
        r"lora_embedding_A is of shape \[4, 515\], expected \[4, 512\]",
        factors() | of_embedding(rows=515),
        target_modules=["q_proj", "embed_tokens"],
    )
