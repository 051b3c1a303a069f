"""The largest magnitudes are those of what really passes, the wrong ones included."""

from __future__ import annotations

import math
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from exporter.reference.peak import SCORES, Peak
from exporter.reference.peaks import Peaks


class DoublingRMSNorm(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2


class Layer(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.mlp = nn.Linear(1, 1, bias=False)
        self.mlp.weight = nn.Parameter(torch.tensor([[factor]]))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.mlp(x)
        return out


class Model(nn.Module):
    def __init__(self, *factors: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList([Layer(factor) for factor in factors])
        self.norm = DoublingRMSNorm()

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        out: Tensor = self.norm(x)
        return out


def peaks_of(model: Model, *texts: list[float]) -> dict[tuple[str, str], Peak]:
    peaks = Peaks()
    with torch.inference_mode(), peaks.watching(model):
        for values in texts:
            model(torch.tensor(values)[:, None])
    return {(peak.module, peak.side): peak for peak in peaks.found}


def test_each_module_has_the_largest_of_all_layers_and_says_in_which_it_was() -> None:
    found = peaks_of(Model(-10.0, 0.5), [1.0, -3.0])
    assert found["mlp", "in"] == Peak("mlp", "in", 1, 30.0)
    assert found["mlp", "out"] == Peak("mlp", "out", 0, 30.0)
    assert found["norm", "in"] == Peak("norm", "in", None, 15.0)
    assert found["norm", "out"] == Peak("norm", "out", None, 30.0)


def test_a_later_text_that_reaches_higher_takes_the_place() -> None:
    assert peaks_of(Model(1.0), [2.0], [5.0], [3.0])["norm", "in"].largest == 5.0


@pytest.mark.parametrize("texts", [([math.nan], [5.0]), ([5.0], [math.nan])])
def test_what_is_no_number_is_never_forgotten(texts: tuple[list[float], list[float]]) -> None:
    assert math.isnan(peaks_of(Model(1.0), *texts)["norm", "in"].largest)


def test_nothing_is_seen_once_it_is_over() -> None:
    model, peaks = Model(1.0), Peaks()
    with peaks.watching(model):
        pass
    model(torch.ones(1, 1))
    assert peaks.found == ()


def eager_attention_forward(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **named: Any
) -> Tensor:
    """As transformers' modelling files have it: `Peaks` looks for it beside the model's class."""
    return query


class Attention(nn.Module):
    """Four query heads over two of keys, one token; head 2 meets the second head of keys."""

    layer_idx = 6

    def forward(self, keys: Tensor) -> Tensor:
        query = torch.tensor([1.0, 2.0, -30.0, 4.0]).reshape(1, 4, 1, 1)
        return eager_attention_forward(self, query, keys, keys, None, scaling=0.5)


def test_scores_are_queries_times_the_keys_of_their_group_before_the_softmax() -> None:
    model, peaks = Attention(), Peaks()
    with peaks.watching(model):
        model(torch.tensor([100.0, 7.0]).reshape(1, 2, 1, 1))
    assert peaks.found == (Peak(SCORES, "out", 6, 105.0),)


def test_transformers_attention_is_its_own_again_once_it_is_over() -> None:
    before = sys.modules[__name__].eager_attention_forward
    with Peaks().watching(Attention()):
        assert sys.modules[__name__].eager_attention_forward is not before
    assert sys.modules[__name__].eager_attention_forward is before


def test_a_score_that_is_no_number_is_never_forgotten() -> None:
    model, peaks = Attention(), Peaks()
    with peaks.watching(model):
        model(torch.tensor([math.nan, 7.0]).reshape(1, 2, 1, 1))
        model(torch.tensor([100.0, 7.0]).reshape(1, 2, 1, 1))
    assert math.isnan(peaks.found[0].largest)
