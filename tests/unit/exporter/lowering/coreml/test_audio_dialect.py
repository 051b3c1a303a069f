from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from exporter.lowering.coreml import tower_dialect
from exporter.lowering.coreml.audio_dialect import CoreMlAudio, closed_scores
from exporter.lowering.coreml.dialect import MASKED
from exporter.lowering.coreml.graph_nodes import whole_blocks
from exporter.lowering.coreml.tower_dialect import CoreMlTower, TowerConstants
from exporter.models.audio.eager import EagerAudio
from exporter.models.audio.rows import sound_rows
from exporter.models.audio.spec import ConformerSpec
from tests.tiny_encoders import random_features, tiny_conformer

EPS = 1e-6


@pytest.mark.parametrize("frames", [1, 2, 16, 17, 43, 66])
def test_blocks_of_attention_are_attention_of_all_frames(
    frames: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tower_dialect, "placeholder_linear", F.linear)
    encoder = tiny_conformer()
    assert isinstance(encoder.spec, ConformerSpec)
    spec, matrices = encoder.spec, {weight.name for weight in encoder.spec.weights() if weight.is_matrix}
    vectors = {name: each.numpy() for name, each in encoder.weights.items() if name not in matrices}
    constants = TowerConstants.of(vectors, {spec.norm_eps, spec.conv_eps})
    given = random_features(spec, frames, frames)
    with torch.no_grad():
        ops = CoreMlAudio(
            encoder.weights, constants, closed_scores(spec.chunk, -(-given.count // spec.chunk))
        )
        found = sound_rows(spec, ops, given.features, None)
        expected = sound_rows(spec, EagerAudio(encoder.weights), given.features, given.sound)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_rows_are_rounded_up_to_whole_blocks() -> None:
    assert [int(whole_blocks(rows, 12)) for rows in (1, 12, 13, 2999)] == [12, 12, 24, 3000]


def test_a_frame_sees_itself_and_what_was_a_moment_ago() -> None:
    first, second = closed_scores(3, 2)[:, 0] == 0
    assert first.int().tolist() == [[0, 0, 0, 1, 0, 0], [0, 0, 0, 1, 1, 0], [0, 0, 0, 1, 1, 1]]
    assert second.int().tolist() == [[0, 1, 1, 1, 0, 0], [0, 0, 1, 1, 1, 0], [0, 0, 0, 1, 1, 1]]


def test_what_is_closed_stays_so_beside_the_highest_score_in_half_precision() -> None:
    scores = torch.tensor([50.0, 50.0 + MASKED, -50.0]).half()
    assert torch.isfinite(scores).all()
    assert torch.softmax(scores[1:], dim=-1).tolist() == [0, 1]


def operations() -> CoreMlTower:
    halves = TowerConstants({}, {EPS: torch.tensor(EPS).sqrt().half()})
    return CoreMlTower({}, halves)


@pytest.mark.parametrize("size", [1e-3, 1.0, 1.5e4])
def test_norms_stay_finite_when_every_step_is_rounded_to_half(size: float) -> None:
    """What they are not when they square first: squares leave fp16 from 256 on."""
    x = (torch.randn((1, 8, 64), generator=torch.Generator().manual_seed(0)) * size).half()
    wide = x.double()

    def check(found: Tensor, expected: Tensor) -> None:
        assert found.dtype == torch.float16
        torch.testing.assert_close(found.double(), expected, rtol=1e-2, atol=5e-3)

    check(operations().norm(x, None, EPS), wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + EPS))
    check(operations().centred(x, EPS), F.layer_norm(wide, (64,), None, None, EPS))
