"""LoRA adapters in PEFT's layout, merged as peft merges them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from exporter.checkpoints.adapters.lora import LoraSource
from exporter.errors import CheckpointError
from exporter.quantization.store.safetensors_writer import write_safetensors
from tests.holding_source import HoldingSource
from tests.tiny import RandomSource, tiny_gemma3

ADAPTED = "model.layers.3.self_attn.q_proj.weight"
RANK = 4


def write_adapter(directory: Path, *, zero: bool = False, drop: str = "", **settings: Any) -> Path:
    """An adapter of one query projection [128, 64]; settings go to adapter_config.json."""
    directory.mkdir(exist_ok=True)
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": 8, "bias": "none", **settings}
    (directory / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    random = np.random.default_rng(7)
    stem = "base_model.model." + ADAPTED.removesuffix(".weight")
    tensors = {
        f"{stem}.lora_A.weight": random.standard_normal((RANK, 64)).astype(np.float32),
        f"{stem}.lora_B.weight": random.standard_normal((128, RANK)).astype(np.float32) * (not zero),
    }
    kept = {name: values for name, values in tensors.items() if not drop or drop not in name}
    write_safetensors(
        directory / "adapter_model.safetensors",
        {name: ("F32", values.shape) for name, values in kept.items()},
        ((name, 0, values) for name, values in kept.items()),
    )
    return directory


def test_codes_of_matrices_the_adapter_leaves_alone_are_still_held(tmp_path: Path) -> None:
    base = HoldingSource(tiny_gemma3(), kinds=("Q4_0", "Q8_0"))
    merged = LoraSource.open(base, write_adapter(tmp_path))
    assert set(base.held) - set(merged.held) == {ADAPTED}
    other = ADAPTED.replace("layers.3", "layers.4")
    assert merged.held[other] == base.held[other]
    for found, expected in zip(merged.codes(other, 2, 9), base.codes(other, 2, 9), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_merged_adapter_is_what_peft_merges(tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM

    base = RandomSource(tiny_gemma3())
    settings = {key: value for key, value in base.architecture.items() if key != "model_type"}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model("gemma3_text", **settings))
    model.load_state_dict({k: torch.from_numpy(v.copy()) for k, v in base.weights.items()}, strict=False)
    adapter = LoraConfig(r=RANK, lora_alpha=8, target_modules=["q_proj", "down_proj"], use_rslora=True)
    adapted = get_peft_model(model, adapter)
    for name, parameter in adapted.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter)
    adapted.save_pretrained(str(tmp_path))

    source = LoraSource.open(base, tmp_path)
    merged = adapted.merge_and_unload().state_dict()
    changed = 0
    for name, weight in base.weights.items():
        ours = np.concatenate([source.rows(name, 0, 5), source.rows(name, 5, len(weight))])
        np.testing.assert_allclose(ours, merged[name].numpy(), atol=5e-6)
        changed += not np.array_equal(ours, weight)
    assert changed == 2 * base.architecture["num_hidden_layers"]


def test_an_adapter_that_changes_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="changes no weight"):
        LoraSource.open(RandomSource(tiny_gemma3()), write_adapter(tmp_path, zero=True))


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"use_dora": True}, "use_dora: is True"),
        ({"bias": "all"}, "bias: is 'all'"),
        ({"peft_type": "IA3"}, "peft_type: is 'IA3'"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"r": 0}, "r: expected a positive number, got 0"),
        ({"r": 8}, r"lora_A.weight is of shape \[4, 64\], expected \[8, 64\]"),
        ({"drop": "lora_B"}, "lora_B.weight is missing"),
    ],
)
def test_what_cannot_be_merged_exactly_is_refused_by_name(
    tmp_path: Path, settings: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(CheckpointError, match=complaint):
        LoraSource.open(RandomSource(tiny_gemma3()), write_adapter(tmp_path, **settings))


def test_an_adapter_of_another_model_is_refused(tmp_path: Path) -> None:
    shallow = {**tiny_gemma3(), "num_hidden_layers": 3, "layer_types": tiny_gemma3()["layer_types"][:3]}
    with pytest.raises(CheckpointError, match=r"adapts model\.layers\.3.*does not have"):
        LoraSource.open(RandomSource(shallow), write_adapter(tmp_path))


def test_a_pickled_adapter_is_refused(tmp_path: Path) -> None:
    write_adapter(tmp_path)
    (tmp_path / "adapter_model.safetensors").rename(tmp_path / "adapter_model.bin")
    with pytest.raises(CheckpointError, match="is a pickle"):
        LoraSource.open(RandomSource(tiny_gemma3()), tmp_path)


def test_a_directory_without_an_adapter_says_what_is_wanted(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"adapter_config\.json: no such file; give a PEFT adapter"):
        LoraSource.open(RandomSource(tiny_gemma3()), tmp_path)
