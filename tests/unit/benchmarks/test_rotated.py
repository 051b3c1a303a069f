"""Values rotated within each head compute what the original does, in every family."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.off_grid import LIMIT, largest_difference
from benchmarks.rotated import rotated
from tests.tiny import TINY_CONFIGS, RandomSource, tiny_gemma3

TOKENS = np.random.default_rng(3).integers(6, 262, 40).astype(np.int32)


@pytest.mark.parametrize("family", TINY_CONFIGS)
def test_logits_stay_where_they_were(family: str) -> None:
    source = RandomSource(TINY_CONFIGS[family]())
    copy = rotated(source)
    assert copy.rotations
    for name in copy.rotations:
        count = source.tensors[name].shape[0]
        assert not np.allclose(copy.rows(name, 0, count), source.rows(name, 0, count), atol=1e-3)
    assert largest_difference(source, copy, TOKENS) <= LIMIT


def test_rows_do_not_depend_on_how_many_are_read() -> None:
    source = RandomSource(tiny_gemma3())
    copy = rotated(source)
    for name in copy.rotations:
        count = source.tensors[name].shape[0]
        whole = copy.rows(name, 0, count)
        parts = [copy.rows(name, at, min(count, at + 7)) for at in range(0, count, 7)]
        np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_a_rotation_of_one_side_alone_is_noticed() -> None:
    source = RandomSource(tiny_gemma3())
    copy = rotated(source)
    one_side = {name: each for name, each in copy.rotations.items() if "v_proj" in name}
    assert largest_difference(source, replace(copy, rotations=one_side), TOKENS) > LIMIT
