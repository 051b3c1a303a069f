"""The off-grid copy computes what the original does and lies on another grid, in every family."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.off_grid import LIMIT, largest_difference, off_grid, write_checkpoint
from exporter.checkpoints.open import open_source
from tests.tiny import TINY_CONFIGS, RandomSource, tiny_gemma3

TOKENS = np.random.default_rng(3).integers(6, 262, 40).astype(np.int32)


@pytest.mark.parametrize("family", TINY_CONFIGS)
def test_logits_stay_where_they_were(family: str) -> None:
    source = RandomSource(TINY_CONFIGS[family]())
    assert largest_difference(source, off_grid(source), TOKENS) <= LIMIT


def test_every_linear_is_moved_and_the_embedding_is_not() -> None:
    source = RandomSource(tiny_gemma3())
    copy = off_grid(source)
    matrices = {weight.name for weight in source.components["text"].weights if weight.is_matrix}
    still = {
        name
        for name in matrices
        if np.array_equal(
            copy.rows(name, 0, source.tensors[name].shape[0]),
            source.rows(name, 0, source.tensors[name].shape[0]),
        )
    }
    assert still == {"model.embed_tokens.weight"}


def test_a_copy_that_computes_something_else_is_noticed() -> None:
    source = RandomSource(tiny_gemma3())
    copy = off_grid(source)
    wrong = replace(copy, gains={name: gain * 1.001 for name, gain in copy.gains.items()})
    assert largest_difference(source, wrong, TOKENS) > LIMIT


def test_seeds_are_told_apart_by_their_digests() -> None:
    source = RandomSource(tiny_gemma3())
    assert off_grid(source, 0).digests() == off_grid(source, 0).digests()
    assert off_grid(source, 0).digests() != off_grid(source, 1).digests()


def test_what_is_written_is_a_checkpoint_of_the_same_values(tmp_path: Path) -> None:
    copy = off_grid(RandomSource(tiny_gemma3()))
    write_checkpoint(copy, tmp_path / "copy")
    read = open_source(str(tmp_path / "copy"))
    for name, tensor in copy.tensors.items():
        rows = tensor.shape[0]
        np.testing.assert_array_equal(read.rows(name, 0, rows), copy.rows(name, 0, rows))
