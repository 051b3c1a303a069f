"""KL of logits that come a block at a time is KL of the whole of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from exporter.reference.divergence import Divergences


@pytest.mark.parametrize("block", [1, 7, 100])
def test_blocks_make_no_difference(block: int) -> None:
    torch.manual_seed(3)
    reference = 5 * torch.randn(6, 100)
    others = [reference + scale * torch.randn(6, 100) for scale in (1e-2, 1.0, 20.0)]
    found = Divergences(len(others), len(reference))
    for start in range(0, 100, block):
        part = slice(start, start + block)
        found.take(reference[:, part], (each[:, part] for each in others))
    plain = reference.double().log_softmax(-1)
    expected = [
        float((plain.exp() * (plain - each.double().log_softmax(-1))).sum(-1).mean()) for each in others
    ]
    np.testing.assert_allclose(found.means(), expected, rtol=1e-3, atol=1e-7)


def test_equal_logits_and_logits_moved_as_a_whole_do_not_diverge() -> None:
    reference = torch.randn(4, 50) * 8
    found = Divergences(2, 4)
    found.take(reference, [reference, reference + 3])
    assert found.means() == pytest.approx([0, 0], abs=1e-6)
