"""Whole tiny checkpoints and adapters, of which one file is damaged, and everything that is read of them.

Read as an export reads them before it plans: opened, every matrix of an adapter's looked at, the tokenizer
written. Not about how files are damaged (`mutations`) or other readers (`readers`).
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from exporter.checkpoints.adapters.source import LoraSource
from exporter.checkpoints.huggingface.source import HuggingFaceSource
from exporter.checkpoints.interface import CheckpointSource
from exporter.models.config import load_config
from exporter.models.text.families import read_spec
from tests.checkpoints import write_huggingface
from tests.tiny import SPECIAL_TOKENS, RandomSource, tiny_gemma3, tiny_gemma4_12b, tiny_gemma4_e2b
from tests.unit.exporter.checkpoints.adapters.written_adapters import write_adapter

Write = Callable[[Path], Path]

CONFIGS = {
    "config.json of a Gemma 3": tiny_gemma3,
    "config.json of a Gemma 4 E2B": tiny_gemma4_e2b,
    "config.json of a Gemma 4 12B": tiny_gemma4_12b,
}

STOPS = {"bos_token_id": 2, "eos_token_id": [1, 5], "pad_token_id": 0, "temperature": 0.7}
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<start_of_turn>{{ m['role'] }}\n"
    "{{ m['content'] }}<end_of_turn>\n{% endfor %}"
)
BESIDE: dict[str, Any] = {
    "generation_config.json": STOPS,
    "tokenizer_config.json": {
        "bos_token": "<bos>", "eos_token": {"content": "<eos>", "lstrip": False}, "pad_token": "<pad>",
        "unk_token": "<unk>", "added_tokens_decoder": {"5": {"content": "<end_of_turn>", "special": True}},
        "chat_template": [{"name": "default", "template": TEMPLATE}, {"name": "b", "template": "{{ x }}"}],
    },
    "chat_template.json": {"chat_template": TEMPLATE},
    "added_tokens.json": {"<end_of_turn>": 5, "<tool>": 265},
}  # fmt: skip


def write_config(config: Callable[[], dict[str, Any]]) -> Write:
    return lambda directory: _written(directory / "config.json", json.dumps(config()))


def read_config(path: Path) -> object:
    return read_spec(load_config(path), str(path), path)


def write_beside(name: str) -> Write:
    """A checkpoint of a Gemma 3 in which this file is to be damaged."""

    def write(directory: Path) -> Path:
        write_huggingface(directory, tiny_gemma3())
        if name == "chat_template.json":
            _written(
                directory / "tokenizer_config.json",
                json.dumps({"bos_token": "<bos>", "eos_token": "<eos>"}),
            )
        if name == "added_tokens.json":
            _sentencepiece_alone(directory)
        return _written(directory / name, json.dumps(BESIDE[name]))

    return write


def write_tokenizer_json(directory: Path) -> Path:
    return write_huggingface(directory, tiny_gemma3()) / "tokenizer.json"


def write_sentencepiece(directory: Path) -> Path:
    return _sentencepiece_alone(write_huggingface(directory, tiny_gemma3()))


def read_checkpoint(path: Path) -> object:
    return _looked_at(HuggingFaceSource.open(path.parent))


def write_adapter_file(name: str) -> Write:
    return lambda directory: (
        write_adapter(directory, rank_pattern={"q_proj": 4}, modules_to_save=None) / name
    )


def read_adapter(path: Path) -> object:
    source = LoraSource.open(RandomSource(tiny_gemma3()), path.parent)
    for name in source.rewritten:
        source.rows(name, 0, 1)
    return source.remarks


def _looked_at(source: CheckpointSource) -> object:
    with tempfile.TemporaryDirectory() as out:
        source.write_tokenizer(Path(out))
    return source.tokens, source.remarks


def _sentencepiece_alone(directory: Path) -> Path:
    from sentencepiece.sentencepiece_model_pb2 import ModelProto

    (directory / "tokenizer.json").unlink()
    model = ModelProto()
    model.trainer_spec.model_type, model.trainer_spec.byte_fallback = 2, True
    model.normalizer_spec.add_dummy_prefix = False
    kinds = {"<unk>": 2}
    pieces = [*SPECIAL_TOKENS, *(f"<0x{byte:02X}>" for byte in range(256)), "a", "b", "ab"]
    for i, piece in enumerate(pieces):
        kind = kinds.get(piece, 3 if i < len(SPECIAL_TOKENS) else 6 if piece.startswith("<0x") else 1)
        model.pieces.add(piece=piece, score=-float(i), type=kind)
    path = directory / "tokenizer.model"
    path.write_bytes(model.SerializeToString())
    return path


def _written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path
