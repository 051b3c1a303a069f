"""Tokens added to a tokenizer.model, against transformers, token for token on eight scripts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from exporter.checkpoints.files.checkpoint_directory import CheckpointDirectory
from exporter.checkpoints.interface import TokenFacts
from exporter.checkpoints.tokenizer.directory_tokenizer import write_directory_tokenizer
from exporter.checkpoints.tokenizer.named_tokens import NamedTokens, read_extended_vocabulary
from exporter.errors import TokenizerError
from tests.unit.exporter.checkpoints.tokenizer.test_tokenizer_files import trained_model
from tests.unit.exporter.checkpoints.written_checkpoints import write_json

SCRIPTS = {
    "Latin": "The quick brown fox, naïve café.",
    "Cyrillic": "Съешь ещё этих мягких булок.",
    "Greek": "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία.",
    "Arabic": "نص حكيم له سر قاطع",
    "Hebrew": "דג סקרן שט בים מאוכזב",
    "Devanagari": "ऋषियों को सताने वाले दुष्ट",
    "Thai": "เป็นมนุษย์สุดประเสริฐ",
    "Japanese": "いろはにほへと 吾輩は猫である。",
}
PLAIN = {"lstrip": False, "rstrip": False, "normalized": False, "single_word": False}
NAMES: dict[str, Any] = {
    "tokenizer_class": "GemmaTokenizer",
    **{f"{name}_token": f"<{name}>" for name in ("bos", "eos", "pad", "unk")},
}
FACTS = TokenFacts(2, 1, 0, (1,), None)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return trained_model(tmp_path_factory.mktemp("model")).read_bytes()


@pytest.fixture
def directory(tmp_path: Path, model: bytes) -> Path:
    (tmp_path / "tokenizer.model").write_bytes(model)
    write_json(tmp_path / "tokenizer_config.json", NAMES)
    return tmp_path


def require_transformers_tokens(directory: Path, out: Path) -> None:
    from transformers import AutoTokenizer

    out.mkdir()
    write_directory_tokenizer(CheckpointDirectory(directory), FACTS, out)
    ours = Tokenizer.from_file(str(out / "tokenizer.json"))
    theirs = AutoTokenizer.from_pretrained(directory)
    for script, text in SCRIPTS.items():
        chat = f"<|im_start|>user\n{text}<|im_end|>\n<|late|> {text}"
        for each in (text, chat):
            for around in (True, False):
                expected = theirs(each, add_special_tokens=around)["input_ids"]
                assert ours.encode(each, add_special_tokens=around).ids == expected, script


def size(directory: Path) -> int:
    return len(read_extended_vocabulary(CheckpointDirectory(directory)).pieces)


@pytest.mark.parametrize("special", [True, False])
def test_a_decoder_of_added_tokens_encodes_as_transformers_does(
    directory: Path, tmp_path: Path, special: bool
) -> None:
    first = size(directory)
    added = {first: "<|im_start|>", first + 1: "<|im_end|>", first + 2: "<|late|>"}
    decoder = {str(i): {"content": text, "special": special, **PLAIN} for i, text in added.items()}
    write_json(directory / "tokenizer_config.json", {**NAMES, "added_tokens_decoder": decoder})
    require_transformers_tokens(directory, tmp_path / "out")
    made = Tokenizer.from_file(str(tmp_path / "out" / "tokenizer.json"))
    assert made.token_to_id("<|late|>") == first + 2
    assert made.encode("<|im_end|>").ids[-1] == first + 1


def test_added_tokens_json_alone_encodes_as_transformers_does(directory: Path, tmp_path: Path) -> None:
    first = size(directory)
    listed = {"<|im_end|>": first + 1, "<|im_start|>": first}
    write_json(directory / "added_tokens.json", listed)
    write_json(directory / "tokenizer_config.json", {**NAMES, "extra_special_tokens": ["<|im_start|>"]})
    require_transformers_tokens(directory, tmp_path / "out")
    assert NamedTokens.read(CheckpointDirectory(directory)).added["<|im_end|>"] == first + 1


def test_without_added_tokens_nothing_changes(directory: Path, tmp_path: Path) -> None:
    require_transformers_tokens(directory, tmp_path / "out")


@pytest.mark.parametrize("bos", [True, False, None])
@pytest.mark.parametrize("eos", [True, False, None])
def test_what_is_put_around_a_text_is_what_transformers_puts(
    directory: Path, tmp_path: Path, bos: bool | None, eos: bool | None
) -> None:
    said = {
        key: value for key, value in (("add_bos_token", bos), ("add_eos_token", eos)) if value is not None
    }
    write_json(directory / "tokenizer_config.json", {**NAMES, **said})
    require_transformers_tokens(directory, tmp_path / "out")
    made = Tokenizer.from_file(str(tmp_path / "out" / "tokenizer.json")).encode("a").ids
    assert (made[0] == 2, made[-1] == 1) == (bool(bos), bool(eos))


@pytest.mark.parametrize("named", [{"eos_token": "<pad>"}, {"bos_token": "<unk>"}])
def test_the_tokenizer_s_own_tokens_are_put_around_a_text(
    directory: Path, tmp_path: Path, named: dict[str, str]
) -> None:
    said = {"add_bos_token": True, "add_eos_token": True}
    write_json(directory / "tokenizer_config.json", {**NAMES, **said, **named})
    require_transformers_tokens(directory, tmp_path / "out")


def test_a_flag_that_is_null_is_as_one_that_is_absent(directory: Path, tmp_path: Path) -> None:
    write_json(directory / "tokenizer_config.json", {**NAMES, "add_bos_token": None})
    write_directory_tokenizer(CheckpointDirectory(directory), FACTS, tmp_path)
    assert Tokenizer.from_file(str(tmp_path / "tokenizer.json")).encode("a").ids[0] != 2


def test_a_flag_that_is_neither_true_nor_false_is_refused(directory: Path, tmp_path: Path) -> None:
    write_json(directory / "tokenizer_config.json", {**NAMES, "add_bos_token": "no"})
    with pytest.raises(TokenizerError, match="add_bos_token: expected true or false, got 'no'"):
        write_directory_tokenizer(CheckpointDirectory(directory), FACTS, tmp_path)


@pytest.mark.parametrize("named", [{"additional_special_tokens": ["<|x|>"]}, {"eos_token": "<|x|>"}])
def test_a_special_token_in_no_vocabulary_is_refused(directory: Path, named: dict[str, Any]) -> None:
    write_json(directory / "tokenizer_config.json", {**NAMES, **named})
    with pytest.raises(TokenizerError, match=r"special token '<\|x\|>', which is not in the vocabulary"):
        read_extended_vocabulary(CheckpointDirectory(directory))


@pytest.mark.parametrize(
    ("listed", "decoder", "what"),
    [
        ({"<|x|>": 5}, {"6": {"content": "<|x|>"}}, "'<|x|>' the id 5, added_tokens_decoder .* 6"),
        ({"<|x|>": 5}, {}, "does not have it"),
        ({"<|x|>": "5"}, None, "not an object of ids by token"),
        ({"<|x|>": 700, "<|y|>": 700}, None, "two added tokens have one id"),
        ({"<bos>": 700}, None, "'<bos>' has id 700, in the vocabulary 2"),
        ({"<|x|>": 10**7}, None, "'<|x|>' has id 10000000, the next is 600"),
        ({"<|x|>": 100}, None, "'<|x|>' has id 100, which in the vocabulary is"),
        ({}, {"5": {"content": "<|x|>"}}, "'<|x|>' has id 5, which in the vocabulary is"),
        ({}, {"a": {"content": "<|x|>"}}, "not an object of tokens by id"),
        ({}, {"9": {"content": "<|x|>", "special": "yes"}}, "token 9 has a flag"),
    ],
)
def test_added_tokens_that_contradict_are_refused(
    directory: Path, listed: dict[str, Any], decoder: dict[str, Any] | None, what: str
) -> None:
    write_json(directory / "added_tokens.json", listed)
    if decoder is not None:
        write_json(directory / "tokenizer_config.json", {**NAMES, "added_tokens_decoder": decoder})
    with pytest.raises(TokenizerError, match=what.replace("|", r"\|")):
        read_extended_vocabulary(CheckpointDirectory(directory))
