"""What a GGUF says its tokenizer does to a text: honoured in the files written, or refused by its key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from exporter.checkpoints.gguf.file import GgufFile, MetadataValue
from exporter.checkpoints.gguf.source import GgufSource
from exporter.checkpoints.gguf.tokenizer_settings import read_tokenizer_settings
from exporter.checkpoints.tokenizer.tokenizer_files import GEMMA, Around
from exporter.errors import TokenizerError
from tests.tiny import RandomSource, tiny_gemma3
from tests.unit.exporter.checkpoints.written_gguf import tiny_architecture, write_gguf

OWN = "tokenizer.ggml."
BOS, EOS = 2, 1


def settings_file(model: str = "llama", **stated: MetadataValue) -> GgufFile:
    metadata = {f"{OWN}{key}": value for key, value in stated.items()}
    return GgufFile(Path("x.gguf"), {f"{OWN}model": model, **metadata}, {})


@pytest.mark.parametrize(
    ("stated", "before", "behind"),
    [
        ({}, [BOS], []),
        ({"add_bos_token": True, "add_eos_token": False, "add_space_prefix": False}, [BOS], []),
        ({"add_bos_token": False}, [], []),
        ({"add_eos_token": True}, [BOS], [EOS]),
        ({"add_bos_token": False, "add_eos_token": True}, [], [EOS]),
    ],
)
def test_what_a_file_puts_around_a_text_is_in_its_tokenizer_files(
    tmp_path: Path, stated: dict[str, Any], before: list[int], behind: list[int]
) -> None:
    metadata = {f"{OWN}{key}": value for key, value in stated.items()}
    path = write_gguf(RandomSource(tiny_gemma3()), tmp_path / "model.gguf", metadata=metadata)
    GgufSource.open(path, None, (tiny_architecture(),)).write_tokenizer(tmp_path)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    text = tokenizer.encode("ab", add_special_tokens=False).ids
    assert tokenizer.encode("ab").ids == [*before, *text, *behind]
    config = json.loads((tmp_path / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert (config["add_bos_token"], config["add_eos_token"]) == (bool(before), bool(behind))


def test_gemma_4_begins_a_text_whatever_older_files_say_and_the_remark_says_so() -> None:
    found = read_tokenizer_settings(settings_file("gemma4", add_bos_token=False))
    assert found.around == GEMMA
    assert "tokenizer.ggml.add_bos_token = false" in "".join(found.remarks)
    assert read_tokenizer_settings(settings_file("llama", add_bos_token=False)).around == Around(bos=False)
    assert read_tokenizer_settings(settings_file("gemma4", add_bos_token=True)).remarks == ()


@pytest.mark.parametrize(
    ("key", "value", "what"),
    [
        ("add_space_prefix", True, "puts a blank before each text"),
        ("remove_extra_whitespaces", True, "takes blanks out of each text"),
        ("precompiled_charsmap", np.array([1, 2, 3], np.uint8), "changes letters of each text"),
        ("precompiled_charsmap", "", "changes letters of each text"),
        ("add_bos_token", 0, "expected true or false, got 0"),
        ("add_eos_token", "false", "expected true or false, got 'false'"),
        ("add_space_prefix", 1, "expected true or false, got 1"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_its_key(key: str, value: MetadataValue, what: str) -> None:
    with pytest.raises(TokenizerError, match=what) as caught:
        read_tokenizer_settings(settings_file("llama", **{key: value}))
    assert caught.value.where == f"x.gguf: {OWN}{key}"


def test_an_empty_character_map_changes_nothing() -> None:
    file = settings_file(precompiled_charsmap=np.array([], np.uint8), remove_extra_whitespaces=False)
    assert read_tokenizer_settings(file).around == GEMMA
