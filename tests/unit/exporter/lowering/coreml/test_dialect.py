from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from exporter.lowering.coreml.cache_states import CacheStates
from exporter.lowering.coreml.dialect import CoreMlDialect, constants
from exporter.lowering.coreml.graph_nodes import cache_rows, placeholder, placeholder_linear, rows_from
from exporter.models.text.spec import ModelSpec
from tests.tiny import RandomSource, tiny_gemma3

EPS = 1e-6
SCALE = 0.25


def dialect(spec: ModelSpec, width: int) -> CoreMlDialect:
    """A dialect with a gain "gain" of ones, of this width, and nothing else."""
    small = constants(spec, {"gain": torch.ones(width)}, 16, SCALE)
    return CoreMlDialect(spec, SCALE, {}, small, CacheStates((), {}, 3, 1), torch.zeros(1, 1, 1, 4), 1)


def rms_norm(x: Tensor, eps: float) -> Tensor:
    wide = x.double()
    return (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)).float()


@pytest.mark.parametrize("size", [0.0, 1e-4, 1e-3, 1.0, 300.0, 6e4])
def test_the_norm_is_rms_norm_at_every_size(size: float) -> None:
    spec = RandomSource(tiny_gemma3()).components["text"].spec
    x = torch.randn((1, 3, 64), generator=torch.Generator().manual_seed(0)) * size
    result = dialect(spec, 64).norm(x, "gain", EPS)
    torch.testing.assert_close(result, rms_norm(x, EPS), rtol=1e-5, atol=1e-6)


def test_the_norm_stays_finite_when_every_step_is_rounded_to_half() -> None:
    """What no plain RMSNorm does: its squares leave fp16 from 256 on."""
    spec = RandomSource(tiny_gemma3()).components["text"].spec
    ops = dialect(spec, 64)
    halves = replace(
        ops.constants,
        gains={key: gain.half() for key, gain in ops.constants.gains.items()},
        roots={key: root.half() for key, root in ops.constants.roots.items()},
    )
    ops.constants = halves
    x = (torch.randn((1, 8, 64), generator=torch.Generator().manual_seed(0)) * 1.5e4).half()
    result = ops.norm(x, "gain", EPS)
    assert result.dtype == torch.float16
    torch.testing.assert_close(result.float(), rms_norm(x, EPS), rtol=4e-3, atol=1e-4)
    assert torch.isinf(x * x).any()


def test_a_norm_without_gain_takes_its_factor_all_the_same() -> None:
    spec = RandomSource(tiny_gemma3()).components["text"].spec
    x = torch.randn((1, 2, 64), generator=torch.Generator().manual_seed(0))
    ops = dialect(spec, 64)
    torch.testing.assert_close(ops.norm(x, None, EPS, SCALE), ops.norm(x, None, EPS) * SCALE)
    torch.testing.assert_close(ops.norm(x, "gain", EPS, SCALE), ops.norm(x, "gain", EPS) * SCALE)


def test_a_placeholder_linear_knows_its_shape_and_does_not_multiply() -> None:
    weight = placeholder((262_144, 64))
    assert weight.untyped_storage().nbytes() == 4
    result = placeholder_linear(torch.ones(1, 3, 64), weight)
    assert result.shape == (1, 3, 262_144)
    assert result.untyped_storage().nbytes() == 4


def test_cache_rows_are_the_first_rows_of_a_layer() -> None:
    cache = torch.arange(2 * 1 * 2 * 5 * 3).reshape(2, 1, 2, 5, 3)
    torch.testing.assert_close(cache_rows(cache, 1, 4), cache[1, :, :, :4])


def test_rows_from_leave_the_first_rows_out() -> None:
    rows = torch.arange(2 * 5 * 3).reshape(1, 2, 5, 3)
    torch.testing.assert_close(rows_from(rows, torch.tensor(2)), rows[:, :, 2:])
