"""Random checkpoints are decided by what was read before, and keep both kinds of layers.

Not about their towers (test_random_tower.py).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import random_checkpoint
from benchmarks.random_checkpoint import SPREAD, write_random_checkpoint
from exporter.models.published import published_config
from exporter.models.text.families.attention import FULL, SLIDING

SMALL = {"hidden_size": 256, "vocab_size": 2000, "intermediate_size": 512, "num_attention_heads": 2}
SMALL |= {"head_dim": 64, "num_key_value_heads": 1}


@pytest.fixture
def small_models(monkeypatch: pytest.MonkeyPatch) -> None:
    def small(model_id: str) -> dict[str, Any]:
        return {**published_config(model_id), **SMALL}

    monkeypatch.setattr(random_checkpoint, "published_config", small)


@pytest.mark.usefixtures("small_models")
@pytest.mark.parametrize("model", ["gemma-2b", "gemma-3-1b"])
def test_logits_are_spread_and_do_not_answer_a_token_with_itself(model: str, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    write_random_checkpoint(model, tmp_path / "model", layers=6)
    read = AutoModelForCausalLM.from_pretrained(tmp_path / "model", dtype=torch.float32)
    tokens = torch.randint(4, 260, (1, 32), generator=torch.Generator().manual_seed(0))
    other = tokens.clone()
    other[0, 0] = 300
    with torch.no_grad():
        logits, changed = (read(each).logits[0] for each in (tokens, other))
    assert SPREAD / 2 < logits.std(-1).mean() < 2 * SPREAD
    own = logits.softmax(-1).gather(1, tokens[0][:, None])
    assert own.mean() < 0.3, "a tied head of large embeddings gives nearly 1"
    before, behind = changed.log_softmax(-1)[1:], logits.log_softmax(-1)[1:]
    assert (behind.exp() * (behind - before)).sum(-1).mean() > 1e-2, "what stands before matters"


@pytest.mark.usefixtures("small_models")
def test_a_global_layer_is_among_the_first_few(tmp_path: Path) -> None:
    write_random_checkpoint("gemma-3-1b", tmp_path / "two", layers=2)
    write_random_checkpoint("gemma-3-1b", tmp_path / "six", layers=6)
    two, six = (
        json.loads((tmp_path / name / "config.json").read_text(encoding="utf-8"))["layer_types"]
        for name in ("two", "six")
    )
    assert two == [SLIDING, FULL]
    assert six == [SLIDING] * 5 + [FULL]
