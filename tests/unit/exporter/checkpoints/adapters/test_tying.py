"""Embedding and head under an adapter: one matrix or two, and parts that contradict one another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exporter.checkpoints.adapters.source import LoraSource
from exporter.errors import CheckpointError
from tests.tiny import RandomSource, tiny_gemma3
from tests.unit.exporter.checkpoints.adapters.written_adapters import (
    DELTA,
    EMBED,
    EMBEDDING,
    HEAD,
    STEM,
    Tensors,
    factors,
    of_embedding,
    of_head,
    opened,
    refused,
    values,
    write_adapter,
)


def test_two_copies_of_a_saved_weight_must_agree(tmp_path: Path) -> None:
    whole, saved = values(512, 64), {"modules_to_save": ["embed_tokens"]}
    both = factors() | {f"{EMBED}.weight": whole, f"{EMBED}.modules_to_save.weight": whole}
    np.testing.assert_array_equal(
        opened(tmp_path, both, **saved).rows(f"{EMBEDDING}.weight", 0, 9), whole[:9]
    )
    both[f"{EMBED}.modules_to_save.weight"] = whole + 1
    refused(tmp_path, "are the same weight and differ", both, **saved)


@pytest.mark.parametrize("more", [of_head(), {f"{HEAD}.weight": values(512, 64)}], ids=["factors", "whole"])
def test_trained_tokens_and_another_training_of_the_tied_matrix_are_refused(
    tmp_path: Path, more: Tensors
) -> None:
    saved = [] if f"{HEAD}.weight" not in more else ["lm_head"]
    settings = {
        "target_modules": ["q_proj", "lm_head"],
        "modules_to_save": saved,
        "trainable_token_indices": [3],
    }
    tensors = factors() | {f"{EMBED}.{DELTA}": values(1, 64)} | more
    refused(tmp_path, "trains some rows of the embedding and also the whole of it", tensors, **settings)


@pytest.mark.parametrize(
    ("tensors", "target", "complaint"),
    [
        (
            of_head(),
            ["q_proj", "embed_tokens"],
            r"lora_A\.weight is a factor of a linear, and .* is an embedding",
        ),
        (of_embedding(), ["q_proj", "lm_head"], r"lora_embedding_A is a factor of an embedding"),
    ],
)
def test_factors_of_the_other_kind_are_refused(
    tmp_path: Path, tensors: Tensors, target: list[str], complaint: str
) -> None:
    swapped = {
        name.replace(HEAD, "@").replace(EMBED, HEAD).replace("@", EMBED): each
        for name, each in tensors.items()
    }
    refused(tmp_path, complaint, factors() | swapped, target_modules=target)


@pytest.mark.parametrize(
    ("tensors", "settings", "complaint"),
    [
        (of_embedding() | of_head(), {}, "the factors of head and embedding are not the same"),
        (of_head(), {}, "there is a part of the head and none of the embedding"),
        (
            {f"{EMBED}.weight": values(512, 64), f"{HEAD}.weight": values(512, 64, seed=3)},
            {"modules_to_save": ["model.embed_tokens"], "target_modules": ["q_proj"]},
            "are one weight and differ",
        ),
    ],
)
def test_with_ensured_tying_head_and_embedding_must_mirror_each_other(
    tmp_path: Path, tensors: Tensors, settings: dict[str, Any], complaint: str
) -> None:
    plain = {"target_modules": ["q_proj", "embed_tokens", "lm_head"], "ensure_weight_tying": True}
    refused(
        tmp_path,
        f"embedding and head are tied, and .*{complaint}",
        factors() | tensors,
        **{**plain, **settings},
    )


def test_with_ensured_tying_one_matrix_takes_the_update_once(tmp_path: Path) -> None:
    """peft's merge adds it twice, once for each name: its model before the merge has it once."""
    embedding = of_embedding()
    down, up = embedding.values()
    mirrored = {f"{HEAD}.lora_A.weight": up.T.copy(), f"{HEAD}.lora_B.weight": down.T.copy()}
    source = opened(
        tmp_path,
        factors() | embedding | mirrored,
        target_modules=["q_proj", "embed_tokens"],
        ensure_weight_tying=True,
    )
    assert source.components["text"].spec.tied_embedding
    expected = source.base.rows(f"{EMBEDDING}.weight", 0, 512) + 2 * (up @ down).T
    np.testing.assert_allclose(source.rows(f"{EMBEDDING}.weight", 0, 512), expected, rtol=1e-5, atol=1e-6)


def test_the_magnitudes_of_a_tied_dora_make_two_matrices_of_the_factors_they_share(tmp_path: Path) -> None:
    settings = {"target_modules": ["q_proj", "embed_tokens"], "ensure_weight_tying": True, "use_dora": True}
    source = opened(tmp_path, tied_dora(), **settings)
    assert not source.components["text"].spec.tied_embedding
    down, up = of_embedding().values()
    added = source.base.rows(f"{EMBEDDING}.weight", 0, 512) + 2 * (up @ down).T
    by_column = added * (values(64, seed=5) / np.linalg.norm(added, axis=0))
    by_row = added * (values(512, seed=6) / np.linalg.norm(added, axis=1))[:, None]
    np.testing.assert_allclose(source.rows(f"{EMBEDDING}.weight", 0, 512), by_column, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(source.rows("lm_head.weight", 0, 512), by_row, rtol=1e-4, atol=1e-5)


def test_a_tied_dora_without_the_heads_magnitudes_is_refused(tmp_path: Path) -> None:
    tensors = {name: each for name, each in tied_dora().items() if not name.startswith(HEAD)}
    settings = {"target_modules": ["q_proj", "embed_tokens"], "ensure_weight_tying": True, "use_dora": True}
    refused(
        tmp_path,
        "embedding and head are tied, and the magnitudes of the head are missing",
        tensors,
        **settings,
    )


def tied_dora() -> Tensors:
    down, up = of_embedding().values()
    return {
        **factors(),
        f"{STEM}.lora_magnitude_vector": values(128, seed=4),
        **of_embedding(),
        f"{EMBED}.lora_magnitude_vector": values(64, seed=5),
        f"{HEAD}.lora_A.weight": up.T.copy(),
        f"{HEAD}.lora_B.weight": down.T.copy(),
        f"{HEAD}.lora_magnitude_vector": values(512, seed=6),
    }


def test_two_equal_copies_of_a_tied_matrix_stay_one(tmp_path: Path) -> None:
    whole = values(512, 64)
    tensors = factors() | {f"{EMBED}.weight": whole, f"{HEAD}.weight": whole}
    source = opened(tmp_path, tensors, modules_to_save=["embed_tokens", "lm_head"])
    assert source.components["text"].spec.tied_embedding
    np.testing.assert_array_equal(source.rows(f"{EMBEDDING}.weight", 3, 90), whole[3:90])


def test_an_untied_base_keeps_head_and_embedding_apart(tmp_path: Path) -> None:
    base = RandomSource({**tiny_gemma3(), "tie_word_embeddings": False})
    tensors = factors() | of_head() | {f"{EMBED}.{DELTA}": values(2, 64)}
    settings = {"target_modules": ["q_proj", "lm_head"], "trainable_token_indices": [3, 5]}
    source = LoraSource.open(base, write_adapter(tmp_path, tensors, **settings))
    down, up = of_head().values()
    head = base.weights["lm_head.weight"] + 2 * up @ down
    np.testing.assert_allclose(source.rows("lm_head.weight", 0, 512), head, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(source.rows(f"{EMBEDDING}.weight", 3, 4), values(2, 64)[:1])
    np.testing.assert_array_equal(
        source.rows(f"{EMBEDDING}.weight", 4, 5), base.weights[f"{EMBEDDING}.weight"][4:5]
    )


def test_rows_added_to_one_of_two_matrices_are_not_enough(tmp_path: Path) -> None:
    base = RandomSource({**tiny_gemma3(), "tie_word_embeddings": False})
    write_adapter(tmp_path, factors() | {f"{EMBED}.weight": values(515, 64)})
    with pytest.raises(
        CheckpointError, match=r"vocabulary has 515 entries, and lm_head\.weight has 512 rows"
    ):
        LoraSource.open(base, tmp_path)
