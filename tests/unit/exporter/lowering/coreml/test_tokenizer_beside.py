"""The tokenizer beside a Core ML package: where swift-transformers ends a turn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jinja2
import pytest

from exporter.errors import LoweringError
from exporter.lowering.coreml.tokenizer_beside import write_beside
from exporter.schemes import INT8_CHANNEL
from tests.parity.swift_generation import eos_token
from tests.tiny import tiny_gemma3
from tests.tiny_releases import lowering_order, quantized

END = "<end_of_turn>"


def beside(tmp_path: Path, stated: Any = "<eos>", **changes: Any) -> Path:
    """What is written for a tokenizer whose eos_token is stated so."""
    out = tmp_path / "coreml"
    out.mkdir()
    checkpoint = quantized(tmp_path, tiny_gemma3(), INT8_CHANNEL)
    order = lowering_order(checkpoint, tmp_path, **changes)
    path = tmp_path / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "eos_token": stated}), encoding="utf-8")
    write_beside(order, checkpoint, out)
    return out


@pytest.mark.parametrize("stated", ["<eos>", {"content": "<eos>", "lstrip": False}])
def test_an_instruct_models_turn_ends_at_the_tokenizers_eos(tmp_path: Path, stated: Any) -> None:
    assert eos_token(beside(tmp_path, stated, turn_end=END)) == 5


@pytest.mark.parametrize("changes", [{}, {"turn_end": "<eos>"}])
def test_where_the_eos_ends_a_turn_already_the_files_are_copied(
    tmp_path: Path, changes: dict[str, str]
) -> None:
    out = beside(tmp_path, **changes)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (out / name).read_bytes() == (tmp_path / name).read_bytes()


def test_a_template_that_asks_for_the_eos_still_gets_the_old_one(tmp_path: Path) -> None:
    out = beside(tmp_path, turn_end=END, chat_template="{{ bos_token }}|{{ eos_token }}")
    source = (out / "chat_template.jinja").read_text(encoding="utf-8")
    assert jinja2.Template(source).render(bos_token="<bos>", eos_token=END) == "<bos>|<eos>"


def test_a_tokenizer_config_that_is_no_json_is_refused(tmp_path: Path) -> None:
    checkpoint = quantized(tmp_path, tiny_gemma3(), INT8_CHANNEL)
    order = lowering_order(checkpoint, tmp_path, turn_end=END)
    (tmp_path / "tokenizer_config.json").write_text("[", encoding="utf-8")
    (tmp_path / "coreml").mkdir()
    with pytest.raises(LoweringError, match="cannot be read as JSON"):
        write_beside(order, checkpoint, tmp_path / "coreml")
