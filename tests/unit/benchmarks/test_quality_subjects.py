from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import importance
from benchmarks.importance import importance_in
from benchmarks.off_grid import LIMIT, largest_difference, off_grid
from benchmarks.quality import _rows
from benchmarks.quality_subjects import Makers, of_mix, of_recipe
from exporter.reference.domains import Domain
from exporter.reference.texts import Texts
from tests.tiny import RandomSource, tiny_gemma3

TOKENS = np.random.default_rng(3).integers(6, 262, 80).astype(np.int32)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tiny models are slower on two threads than on one, and learn nothing from long texts."""
    monkeypatch.setattr(importance, "TOKENS", 1024)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def makers() -> Makers:
    source = RandomSource(tiny_gemma3())
    return Makers(source, Texts.of(source))


def test_importance_in_a_copy_is_what_would_be_measured_there(makers: Makers) -> None:
    copy = off_grid(makers.source)
    before = importance.importance(makers.source, makers.texts)
    derived, measured = importance_in(copy, before), importance.importance(copy, makers.texts)
    assert derived.keys() == measured.keys()
    for name, found in derived.items():
        np.testing.assert_allclose(found, measured[name], rtol=1e-3, err_msg=name)
    q = "model.layers.0.self_attn.q_proj.weight"
    assert not np.allclose(before[q], measured[q], rtol=0.05)


def test_all_copies_compute_the_same(makers: Makers) -> None:
    for copy in ("off-grid", "equalised", "rotated"):
        assert largest_difference(makers.source, makers.copy(copy), TOKENS) <= LIMIT


def test_a_recipe_is_measured_with_its_bytes(makers: Makers) -> None:
    text = makers.texts.tokenised("english", "A tide turns twice a day, and nobody has to be told. " * 2)
    domains = [Domain("language", text)]
    coarse, fine = _rows(makers, [of_recipe("int4", "original"), of_recipe("int8", "off-grid")], domains)
    assert (coarse.subject, coarse.weights, fine.weights) == ("int4", "original", "off-grid")
    assert coarse.linear_bits == 4.5  # 16 bits of scale for 32 codes
    assert coarse.nbytes < fine.nbytes
    assert coarse.overall.statistics.mean_kl > 3 * fine.overall.statistics.mean_kl > 0
    assert set(fine.domains) == {"english"}


def test_bytes_are_those_of_codes_scales_and_vectors(makers: Makers, tmp_path: Path) -> None:
    made = makers.make(of_recipe("float", "original"), tmp_path)
    shapes = [tensor.shape for tensor in makers.source.tensors.values()]
    expected = sum(math.prod(shape) * (2 if len(shape) == 2 else 4) for shape in shapes)
    assert made.bytes_and_linear_bits(makers.source) == (expected, 16.0)


def test_subjects_are_told_apart_by_name() -> None:
    keys = [of_mix("Q4_0", important, "original").key for important in (False, True)]
    assert keys == [("llama.cpp Q4_0", "original"), ("llama.cpp Q4_0, imatrix", "original")]
