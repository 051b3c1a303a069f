"""What each matrix costs alone is what transformers loses with that matrix rounded and no other.

Over tiny models of every family. Not asserted here: what is chosen by it (`planning`).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from exporter.planning.mixed_recipe import base
from exporter.planning.recipe import load_recipe
from exporter.quantization import sensitivity
from exporter.quantization.sensitivity import EVERY, SensitivityOrder, measure_losses, short_text
from exporter.scheme_choice import sensitivity_order
from exporter.schemes import FP32, INT8_CHANNEL, Scheme
from tests.fakes import silent
from tests.jobs import a_job, a_plan, a_variant
from tests.reference import transformers_logits
from tests.tiny import TINY_CONFIGS, RandomSource, tiny_gemma3


def an_order(work: Path, family: str = "Gemma 3") -> SensitivityOrder:
    source = RandomSource(TINY_CONFIGS[family]())
    plan = a_plan(source, a_variant(load_recipe("mixed:6.0"), ("onnx",)))
    return sensitivity_order(a_job(source, (plan,), {}, work), plan)


def few_bits(order: SensitivityOrder, name: str) -> Scheme:
    """The scheme a matrix is measured in."""
    found = base(order.schemes[name])
    assert found is not None
    return found


def logits(order: SensitivityOrder, rounded: str | None = None) -> Tensor:
    """Of transformers' own model at the positions that are compared, [positions, vocab]."""
    source = order.source
    assert isinstance(source, RandomSource)
    weights = dict(source.weights)
    if rounded is not None:
        count = len(weights[rounded])
        weights[rounded] = order.rounding.rows(rounded, few_bits(order, rounded), 0, count)
    found = [
        transformers_logits(source.architecture, weights, torch.from_numpy(sequence).long())
        for sequence in short_text(order.text)
    ]
    return torch.cat([each[EVERY - 1 :: EVERY] for each in found]).double()


@pytest.mark.parametrize("family", TINY_CONFIGS)
def test_a_loss_is_the_divergence_of_transformers_with_that_matrix_rounded(
    family: str, tmp_path: Path
) -> None:
    order = an_order(tmp_path, family)
    losses = measure_losses(order, silent)
    assert losses.keys() == order.schemes.keys()
    plain = logits(order).log_softmax(-1)
    layers = len(order.source.components["text"].spec.layers)
    middle = f"model.layers.{layers // 2}."
    named = [
        name
        for name in losses
        if not name.startswith("model.layers.") or name.startswith((middle, "model.layers.0."))
    ]
    for name in named:
        other = logits(order, name).log_softmax(-1)
        expected = float((plain.exp() * (plain - other)).sum(-1).mean())
        assert losses[name][few_bits(order, name).name] == pytest.approx(expected, rel=2e-2, abs=2e-6), name


def test_more_bits_are_put_down_for_the_share_of_their_squared_error(tmp_path: Path) -> None:
    losses = measure_losses(an_order(tmp_path), silent)
    for by_scheme in losses.values():
        assert by_scheme["int4-channel"] > by_scheme["int4-g32"] > 50 * by_scheme["int8-channel"]
        assert by_scheme["int8-channel"] > 50 * by_scheme["fp16"]


def test_rounding_comes_back_in_the_originals_terms(tmp_path: Path) -> None:
    order = an_order(tmp_path)
    for name in order.schemes:
        count = order.source.tensors[name].shape[0]
        original = order.source.rows(name, 0, count)
        assert not np.array_equal(order.rounding.source.rows(name, 0, count), original), "not equalised"
        np.testing.assert_allclose(order.rounding.rows(name, FP32, 0, count), original, rtol=1e-6)
        coarse = order.rounding.rows(name, INT8_CHANNEL, 0, count)
        assert 0 < np.abs(coarse - original).max() < 0.05 * np.abs(original).max()
        some = [count - 1, 0, 3]
        gathered = order.rounding.gather(name, INT8_CHANNEL, some)
        np.testing.assert_array_equal(gathered, coarse[some])


class Killed(BaseException):
    """As SIGKILL: nothing else runs."""


def test_a_killed_measurement_goes_on_to_the_same_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sensitivity, "BRANCHES", 9)
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    whole = measure_losses(an_order(tmp_path / "whole"), silent)
    parts: list[int] = []

    def kill(what: str, done: int, total: int) -> None:
        parts.append(done)
        if len(parts) == 4:
            raise Killed

    with pytest.raises(Killed):
        measure_losses(an_order(tmp_path / "killed"), kill)
    measured: list[int] = []
    plainly = sensitivity._losses

    def counted(order: SensitivityOrder, subjects: list[sensitivity.Subject]) -> list[float]:
        measured.append(len(subjects))
        return plainly(order, subjects)

    monkeypatch.setattr(sensitivity, "_losses", counted)
    assert measure_losses(an_order(tmp_path / "killed"), silent) == whole
    tables = 2  # measurements of the embedding
    assert sum(measured) == len(whole) - 1 + tables - parts[-1]


def test_figures_of_another_model_are_not_taken(tmp_path: Path) -> None:
    first = measure_losses(an_order(tmp_path), silent)
    other = RandomSource(tiny_gemma3(), seed=1)
    plan = a_plan(other, a_variant(load_recipe("mixed:6.0"), ("onnx",)))
    assert measure_losses(sensitivity_order(a_job(other, (plan,), {}, tmp_path), plan), silent) != first
