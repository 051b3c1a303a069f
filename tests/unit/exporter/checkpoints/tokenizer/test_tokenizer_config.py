"""Special tokens by the names the tokenizer itself has for them, and its tokenizer.json as it is used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from exporter.checkpoints.files.checkpoint_directory import CheckpointDirectory
from exporter.checkpoints.interface import TokenFacts
from exporter.checkpoints.tokenizer.directory_tokenizer import write_directory_tokenizer
from exporter.checkpoints.tokenizer.token_facts import read_token_facts
from exporter.checkpoints.tokenizer.tokenizer_config import read_tokenizer_config, special_names
from exporter.errors import TokenizerError
from tests.tiny import VOCABULARY, write_tiny_tokenizer
from tests.unit.exporter.checkpoints.written_checkpoints import write_json

TURNS = "{{ bos_token }}{% for m in messages %}{{ m['content'] }}{{ eos_token }}{% endfor %}"
NAMES = {f"{name}_token": f"<{name}>" for name in ("bos", "eos", "pad", "unk")}
FLAGS = {"lstrip": False, "rstrip": False, "normalized": False, "single_word": False, "special": True}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    place = tmp_path / "tokenizer"
    place.mkdir()
    write_tiny_tokenizer(place)
    (place / "chat_template.jinja").write_text(TURNS, encoding="utf-8")
    return place


def state(directory: Path, name: str = "tokenizer_config.json", **keys: Any) -> None:
    path = directory / name
    had = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    write_json(path, {**had, **keys})


def facts(directory: Path, eos: Any = 1) -> TokenFacts:
    ids = {"bos_token_id": 2, "eos_token_id": eos, "pad_token_id": 0}
    return read_token_facts(CheckpointDirectory(directory), ids, VOCABULARY)


def written(directory: Path) -> Path:
    out = directory.parent / "out"
    out.mkdir()
    write_directory_tokenizer(CheckpointDirectory(directory), TokenFacts(2, 1, 0, (1,), None), out)
    return out


@pytest.mark.parametrize("eos", [1, [1, 5]])
def test_a_template_is_rendered_with_the_tokenizer_s_end_of_text(directory: Path, eos: Any) -> None:
    state(directory, eos_token="<end_of_turn>")
    found = facts(directory, eos)
    assert (found.turn_end, found.stop_tokens) == ("<end_of_turn>", (1, 5))


@pytest.mark.parametrize("eos", [5, [5], [5, 1]])
def test_config_json_s_end_of_text_is_not_the_template_s(directory: Path, eos: Any) -> None:
    found = facts(directory, eos)
    assert (found.turn_end, found.stop_tokens) == ("<eos>", (5, 1))


def test_special_tokens_map_counts_for_more_than_tokenizer_config(directory: Path) -> None:
    state(directory, "special_tokens_map.json", eos_token={"content": "<end_of_turn>"})
    found = facts(directory)
    assert found.turn_end == "<end_of_turn>"
    assert any("special_tokens_map.json adds 5 (<end_of_turn>)" in remark for remark in found.remarks)
    released = json.loads((written(directory) / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert special_names(released) == {**NAMES, "eos_token": "<end_of_turn>"}


def test_beside_an_added_tokens_decoder_special_tokens_map_is_not_looked_at(directory: Path) -> None:
    state(directory, "special_tokens_map.json", eos_token="<end_of_turn>")
    state(directory, added_tokens_decoder={"1": {"content": "<eos>", **FLAGS}})
    assert special_names(read_tokenizer_config(CheckpointDirectory(directory)))["eos_token"] == "<eos>"


def test_cutting_and_padding_of_a_training_are_left_out_with_a_remark(directory: Path) -> None:
    cut = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}
    state(directory, "tokenizer.json", truncation=cut)
    assert any("truncation that tokenizer.json sets" in remark for remark in facts(directory).remarks)
    made = Tokenizer.from_file(str(written(directory) / "tokenizer.json"))
    assert len(made.encode("longer than four").ids) > 4


def test_a_tokenizer_that_is_used_as_it_is_is_copied(directory: Path) -> None:
    out = written(directory)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (out / name).read_bytes() == (directory / name).read_bytes()


def test_an_end_of_text_of_the_vocabulary_alone_is_a_stop(directory: Path) -> None:
    state(directory, eos_token="<unused300>")
    assert 300 in facts(directory).stop_tokens


def test_an_end_of_text_without_a_row_is_refused_by_name(directory: Path) -> None:
    state(directory, eos_token="<|im_end|>")
    with pytest.raises(TokenizerError, match=r"stop token <\|im_end\|> is token 512"):
        facts(directory)


@pytest.mark.parametrize("stated", ["300", "512"])
def test_a_decoder_beside_tokenizer_json_adds_its_tokens(directory: Path, stated: str) -> None:
    state(directory, added_tokens_decoder={stated: {"content": "<unused300>", **FLAGS}})
    made = Tokenizer.from_file(str(written(directory) / "tokenizer.json"))
    assert 300 in made.encode("a<unused300>b", add_special_tokens=False).ids


def test_a_decoder_s_token_without_a_row_is_named(directory: Path) -> None:
    state(directory, added_tokens_decoder={"512": {"content": "<new>", **FLAGS}})
    assert any("among them <new>, cannot be run" in remark for remark in facts(directory).remarks)


def test_a_pad_id_without_a_token_is_named(directory: Path) -> None:
    with pytest.raises(TokenizerError, match=r"has no token 700, which .* calls pad_token_id"):
        write_directory_tokenizer(
            CheckpointDirectory(directory), TokenFacts(2, 1, 700, (1,), None), directory
        )
