"""The command on fine-tunes as trainers leave them: an adapter's directory, and what lies in it.

Matrix: a trained head, an enlarged vocabulary with its own tokenizer and template, an adapter of the towers
too; one format, in floats, so that the logits of the release are peft's. Not asserted here: what is refused
(unit tests), every feature (tests/parity/test_adapters_against_peft.py).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from exporter.cli import main
from exporter.packaging.release import verify_release
from exporter.views.json_report import read_report
from runtimes.manifest import read_manifest
from runtimes.open import open_session
from tests.checkpoints import write_huggingface
from tests.tiny import VOCABULARY, tiny_gemma3, write_tiny_tokenizer
from tests.unit.exporter.checkpoints.adapters.written_adapters import OUTER, factors, values, write_adapter
from tests.unit.exporter.checkpoints.multimodal_checkpoints import write_multimodal

TEMPLATE = (
    "{% for m in messages %}<start_of_turn>{{ m['role'] }}\n{{ m['content'] }}<end_of_turn>\n{% endfor %}"
)
TOKENS = (2, 40, 77, 120, 90, 33, 200, 150)
SAME_LOGITS = 2e-2  # the float recipe stores matrices in half precision


def export(model: Path, adapter: Path, release: Path, *flags: str) -> Result:
    shape = ("--target", "desktop", "--format", "onnx", "--recipe", "float", "--context", "64")
    arguments = (
        *shape,
        *flags,
        "--validation-tokens",
        "32",
        "--model",
        model,
        "--adapter",
        adapter,
        "-o",
        release,
    )
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def checked(result: Result, release: Path) -> str:
    """What was printed, of an export that passed."""
    assert result.exit_code == 0, result.output
    assert verify_release(release) == ()
    return " ".join(result.stdout.split())


def logits(release: Path) -> np.ndarray[Any, np.dtype[np.float32]]:
    (artifact,) = read_manifest(release).artifacts
    with open_session(release, artifact) as session:
        return np.stack([np.array(session.decode(token)).reshape(-1) for token in TOKENS])


def train(base: Path, adapter: Path, rows: int, **settings: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Save an adapter as peft does, and give the logits of peft's model with it."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(3)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    if rows != VOCABULARY:
        model.resize_token_embeddings(rows)
    plain = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "down_proj"], "task_type": "CAUSAL_LM"}
    adapted: Any = get_peft_model(model, LoraConfig(**{**plain, **settings}))
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape) * 0.05)
        adapted.save_pretrained(str(adapter))
        found = adapted.eval()(input_ids=torch.tensor([TOKENS])).logits[0]
    trained: np.ndarray[Any, np.dtype[np.float32]] = found.numpy()
    return trained


def test_a_head_trained_apart_from_its_embedding_is_released_as_trained(tmp_path: Path) -> None:
    base = write_huggingface(tmp_path / "base", tiny_gemma3())
    expected = train(base, tmp_path / "adapter", VOCABULARY, modules_to_save=["lm_head"], use_dora=True)
    said = checked(export(base, tmp_path / "adapter", tmp_path / "release"), tmp_path / "release")
    assert "they are two in the release." in said
    assert np.abs(logits(tmp_path / "release") - expected).max() < SAME_LOGITS


def test_an_enlarged_vocabulary_comes_with_its_tokenizer_and_template(tmp_path: Path) -> None:
    base, adapter, release = (
        write_huggingface(tmp_path / "base"),
        tmp_path / "adapter",
        tmp_path / "release",
    )
    expected = train(base, adapter, VOCABULARY + 8)
    write_tiny_tokenizer(adapter)
    (adapter / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    said = checked(export(base, adapter, release), release)
    assert "The vocabulary has 520 entries, 8 of them the adapter's." in said
    assert np.abs(logits(release) - expected).max() < SAME_LOGITS
    found = [path.read_text(encoding="utf-8") for path in release.rglob("chat_template.jinja")]
    assert found
    assert set(found) == {TEMPLATE}
    for page in ("README.md", "report.md", "report.html"):
        assert "chat_template.jinja" in (release / page).read_text(encoding="utf-8").replace("\\", "")


def test_the_part_of_an_adapter_that_is_a_towers_is_said_to_be_left_out(tmp_path: Path) -> None:
    write_multimodal(tmp_path / "base", "gemma3", "inner")
    trained = f"{OUTER}model.vision_tower.vision_model.encoder.layers.0.self_attn.q_proj"
    tensors = {f"{trained}.lora_A.weight": values(4, 8), f"{trained}.lora_B.weight": values(8, 4)}
    text = factors("model.language_model.layers.3.self_attn.q_proj")
    adapter = write_adapter(tmp_path / "adapter", text | tensors)
    refused = export(tmp_path / "base", adapter, tmp_path / "release")
    assert refused.exit_code == 2
    assert "the adapter changes the vision tower" in " ".join(refused.stderr.split())
    result = export(tmp_path / "base", adapter, tmp_path / "release", "--components", "text")
    said = checked(result, tmp_path / "release")
    tower = ("vision tower, 104,736 parameters", "vision projector, 4,160 parameters")
    left_out = (*tower, "the adapter's part of the vision tower, 64 parameters")
    assert read_report(tmp_path / "release" / "report.json").left_out == left_out
    assert f"Left out of the checkpoint: {'; '.join(left_out)}." in said


@pytest.mark.parametrize("kind", ["pissa", "olora"])
def test_an_adapter_whose_factors_belong_to_another_base_is_refused(tmp_path: Path, kind: str) -> None:
    base = write_huggingface(tmp_path / "base", tiny_gemma3())
    train(base, tmp_path / "adapter", VOCABULARY, init_lora_weights=kind)
    result = export(base, tmp_path / "adapter", tmp_path / "release")
    assert result.exit_code == 2
    assert f"init_lora_weights: is '{kind}'" in " ".join(result.stderr.split())
    assert not (tmp_path / "release").exists()
