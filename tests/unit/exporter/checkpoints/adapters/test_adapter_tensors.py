"""Names of an adapter's tensors: wrappers, towers, what is there twice, what is nothing we know."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from exporter.checkpoints.adapters.source import LoraSource
from exporter.checkpoints.text_tensors import UNUSED
from exporter.errors import CheckpointError
from tests.tiny import RandomSource, tiny_gemma3, tiny_gemma4_e2b
from tests.unit.exporter.checkpoints.adapters.written_adapters import (
    ADAPTED,
    MODULE,
    OUTER,
    STEM,
    Tensors,
    factors,
    values,
    write_adapter,
)

INNER = MODULE.removeprefix("model.")
PATCH = f"{OUTER}model.vision_tower.vision_model.encoder.layers.0.self_attn.q_proj"


def opened(directory: Path, **tensors: NDArray[np.float32]) -> LoraSource:
    return LoraSource.open(RandomSource(tiny_gemma3()), write_adapter(directory, tensors))


def renamed(module: str, infix: str = "") -> Tensors:
    """The usual factors of the query projection under another name."""
    down, up = factors().values()
    return {f"{module}.lora_A{infix}.weight": down, f"{module}.lora_B{infix}.weight": up}


@pytest.mark.parametrize(
    "module",
    [
        f"base_model.model.{MODULE}",
        MODULE,
        INNER,
        f"module.base_model.model.{MODULE}",
        f"base_model.model._orig_mod.{MODULE}",
        f"_orig_mod.module.base_model.model.{MODULE}",
        f"_fsdp_wrapped_module.base_model.model.model._fsdp_wrapped_module.{INNER}",
        f"base_model.model.model.layers.3._checkpoint_wrapped_module.{INNER.removeprefix('layers.3.')}",
        f"base_model.model.model.language_model.{INNER}",
        f"base_model.model.language_model.model.{INNER}",
        f"base_model.language_model.model.{INNER}",
        f"base_model.model.base_model.model.{MODULE}",
    ],
)
def test_what_a_model_was_wrapped_in_is_taken_off_its_names(tmp_path: Path, module: str) -> None:
    expected = opened(tmp_path / "plain", **renamed(f"{OUTER}{MODULE}"))
    found = opened(tmp_path / "wrapped", **renamed(module))
    assert found.rewritten == expected.rewritten == {ADAPTED}
    np.testing.assert_array_equal(found.rows(ADAPTED, 0, 128), expected.rows(ADAPTED, 0, 128))


def test_an_adapters_own_name_in_a_whole_state_dict_is_passed_over(tmp_path: Path) -> None:
    assert opened(tmp_path, **renamed(f"{OUTER}{MODULE}", ".default")).rewritten == {ADAPTED}


@pytest.mark.parametrize(
    "more",
    [renamed(f"module.{OUTER}{MODULE}"), renamed(f"{OUTER}{MODULE}", ".second")],
    ids=["wrapped", "named"],
)
def test_two_names_that_become_one_are_refused(tmp_path: Path, more: Tensors) -> None:
    with pytest.raises(CheckpointError, match=r"are the same part of one weight; two adapters"):
        opened(tmp_path, **factors(), **more)


@pytest.mark.parametrize(
    "name",
    [
        f"{OUTER}{MODULE}.lora_C.weight",
        f"{OUTER}{MODULE}.lora_A.bias",
        f"{OUTER}{MODULE}.lora_B.bias",
        f"{OUTER}{MODULE}.lora_diag",
        f"{OUTER}{MODULE}.bias",
        f"{OUTER}{MODULE}.base_layer.weight.absmax",
        f"{OUTER}{MODULE}.lora_A.weight.absmax",
        f"{OUTER}score.weight",
        f"{OUTER}model.decoder.layers.0.q_proj.lora_A.weight",
        f"{OUTER}v_head.summary.weight",
        "prompt_embeddings",
        "base_model.model",
        "model",
        ".",
    ],
)
def test_a_tensor_of_no_known_part_is_refused_by_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(CheckpointError, match="is no part of a LoRA on a Gemma") as caught:
        opened(tmp_path, **factors(), **{name: values(4, 4)})
    assert f"tensor {name} is" in caught.value.what


def test_a_name_without_end_is_not_repeated_to_its_end(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as caught:
        opened(tmp_path, **{"x" * 50_000: values(4, 4)})
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("name", ["vision_tower", "multi_modal_projector", "audio_tower", "embed_vision"])
def test_an_adapter_of_nothing_but_a_tower_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(CheckpointError, match=r"changes nothing but the (vision|audio) (tower|pro|embed)"):
        opened(tmp_path, **{f"{OUTER}model.{name}.x.lora_A.weight": values(4, 8)})


def test_an_empty_adapter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no tensor of an adapter"):
        opened(tmp_path)


def test_the_towers_part_is_left_out_and_counted(tmp_path: Path) -> None:
    tower = {f"{PATCH}.lora_A.weight": values(4, 8), f"{PATCH}.lora_B.weight": values(8, 4)}
    projector = {f"{OUTER}multi_modal_projector.mm_soft_emb_norm.weight": values(1200)}
    source = opened(tmp_path, **factors(), **tower, **projector)
    assert source.rewritten == {ADAPTED}
    assert source.left_out == (
        "the adapter's part of the vision tower, 64 parameters",
        "the adapter's part of the vision projector, 1,200 parameters",
    )


def test_projections_of_layers_that_share_a_cache_are_left_out_and_counted(tmp_path: Path) -> None:
    shared = "model.layers.14.self_attn.k_proj"
    write_adapter(tmp_path, factors(out=128) | factors(shared), target_modules=["q_proj", "k_proj"])
    source = LoraSource.open(RandomSource(tiny_gemma4_e2b()), tmp_path)
    assert source.rewritten == {ADAPTED}
    (left_out,) = source.left_out
    assert left_out == f"the adapter's part of the {UNUSED}, 768 parameters"


def test_magnitudes_saved_twice_are_read_once_and_must_agree(tmp_path: Path) -> None:
    """peft does that to a head's where it saves embedding layers."""
    magnitudes = {f"{STEM}.lora_magnitude_vector{end}": values(128) for end in ("", ".weight")}
    write_adapter(tmp_path, factors() | magnitudes, use_dora=True)
    assert LoraSource.open(RandomSource(tiny_gemma3()), tmp_path).rewritten == {ADAPTED}
    magnitudes[f"{STEM}.lora_magnitude_vector"] = values(128, seed=2)
    write_adapter(tmp_path, factors() | magnitudes, use_dora=True)
    with pytest.raises(CheckpointError, match="are the same part of one weight"):
        LoraSource.open(RandomSource(tiny_gemma3()), tmp_path)
