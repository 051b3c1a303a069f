"""An adapter's own tokenizer, chat template and generation config: taken, or said not to be."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from exporter.checkpoints.adapters.source import LoraSource
from exporter.checkpoints.files.checkpoint_directory import CheckpointDirectory
from exporter.checkpoints.huggingface.source import HuggingFaceSource
from exporter.checkpoints.interface import CheckpointSource, TokenFacts
from exporter.checkpoints.tokenizer.chat_templates import read_chat_template
from exporter.errors import CheckpointError, TokenizerError
from tests.tiny import RandomSource, tiny_gemma3, write_tiny_tokenizer
from tests.unit.exporter.checkpoints.adapters.written_adapters import write_adapter
from tests.unit.exporter.checkpoints.written_checkpoints import write_huggingface, write_json

OWN, BASES = "{{ 'own' }}", "{{ 'base' }}"


@dataclass(frozen=True)
class Instructed(RandomSource):
    """A base with a chat template."""

    @property
    def tokens(self) -> TokenFacts:
        return TokenFacts(2, 1, 0, (1, 5), BASES)

    def write_tokenizer(self, directory: Path) -> None:
        super().write_tokenizer(directory)
        edit(directory / "tokenizer_config.json", chat_template=BASES)


def edit(path: Path, **changed: Any) -> None:
    write_json(path, json.loads(path.read_text(encoding="utf-8")) | changed)


def tokenizer_of(source: CheckpointSource, place: Path) -> dict[str, Any]:
    """tokenizer_config.json as written, whose template is the one that is read."""
    place.mkdir()
    source.write_tokenizer(place)
    assert read_chat_template(CheckpointDirectory(place)) == source.tokens.chat_template
    found: dict[str, Any] = json.loads((place / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert found.get("chat_template") in (None, source.tokens.chat_template)
    return found


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    return write_adapter(tmp_path / "adapter", target_modules=["layers.3.self_attn.q_proj"])


@pytest.fixture
def base() -> RandomSource:
    return RandomSource(tiny_gemma3())


def test_an_adapter_of_weights_alone_leaves_the_bases(
    base: RandomSource, adapter: Path, tmp_path: Path
) -> None:
    source = LoraSource.open(base, adapter)
    assert source.tokens == base.tokens
    assert source.remarks == ()
    assert tokenizer_of(source, tmp_path / "out")["eos_token"] == "<eos>"


def test_what_its_template_ends_an_answer_with_ends_a_turn(base: RandomSource, adapter: Path) -> None:
    template = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}<end_of_turn>\n{% endfor %}"
    (adapter / "chat_template.jinja").write_text(template, encoding="utf-8")
    write_json(adapter / "generation_config.json", {"eos_token_id": 1})
    tokens = LoraSource.open(base, adapter).tokens
    assert tokens.stop_tokens == (1, 5)
    assert tokens.turn_end == "<end_of_turn>"
    assert any("the chat template adds 5 (<end_of_turn>)" in remark for remark in tokens.remarks)


def test_its_chat_template_goes_before_the_bases(adapter: Path, tmp_path: Path) -> None:
    (adapter / "chat_template.jinja").write_text(OWN, encoding="utf-8")
    source = LoraSource.open(Instructed(tiny_gemma3()), adapter)
    assert source.tokens.chat_template == OWN
    assert tokenizer_of(source, tmp_path / "out")["chat_template"] == OWN
    assert source.remarks == (
        "Taken from the adapter's directory, before the base's: chat_template.jinja.",
    )


def test_its_tokenizer_is_written_whole(base: RandomSource, adapter: Path, tmp_path: Path) -> None:
    write_tiny_tokenizer(adapter)
    edit(adapter / "tokenizer_config.json", eos_token="<end_of_turn>", chat_template=OWN)
    edit(adapter / "tokenizer.json", version="1.0")
    source = LoraSource.open(base, adapter)
    assert (source.tokens.eos_token, source.tokens.stop_tokens) == (5, (5, 1))
    written = tokenizer_of(source, tmp_path / "out")
    assert written == json.loads((adapter / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert (tmp_path / "out" / "tokenizer.json").read_bytes() == (adapter / "tokenizer.json").read_bytes()
    assert source.remarks == (
        "Taken from the adapter's directory, before the base's: tokenizer.json, tokenizer_config.json.",
    )


def test_a_tokenizer_without_a_template_keeps_the_bases_and_says_so(adapter: Path, tmp_path: Path) -> None:
    write_tiny_tokenizer(adapter)
    source = LoraSource.open(Instructed(tiny_gemma3()), adapter)
    assert source.tokens.chat_template == BASES
    tokenizer_of(source, tmp_path / "out")
    assert "The adapter's tokenizer has no chat template: the base's is kept." in source.remarks


def test_a_tokenizer_config_alone_is_read_with_the_bases_vocabulary(
    base: RandomSource, adapter: Path, tmp_path: Path
) -> None:
    write_json(adapter / "tokenizer_config.json", {"eos_token": {"content": "<end_of_turn>"}})
    source = LoraSource.open(base, adapter)
    assert (source.tokens.eos_token, source.tokens.stop_tokens) == (5, (5, 1))
    assert tokenizer_of(source, tmp_path / "out") == {"eos_token": {"content": "<end_of_turn>"}}
    assert (tmp_path / "out" / "tokenizer.json").exists()


@pytest.mark.parametrize(
    ("stated", "eos", "stops"),
    [
        ({"eos_token_id": 7}, 7, (7,)),
        ({"eos_token_id": [7, 1]}, 1, (1, 7)),
        ({"eos_token_id": None, "temperature": 0.5}, 1, (1, 5)),
        ({}, 1, (1, 5)),
    ],
)
def test_its_generation_config_says_where_text_ends(
    base: RandomSource, adapter: Path, stated: dict[str, Any], eos: int, stops: tuple[int, ...]
) -> None:
    write_json(adapter / "generation_config.json", {"bos_token_id": 2, "pad_token_id": 3, **stated})
    tokens = LoraSource.open(base, adapter).tokens
    assert tokens == TokenFacts(2, eos, 3, stops, None)


@pytest.mark.parametrize("value", ["1", [1, "x"], [-1], True, 1.5])
def test_ids_that_are_none_are_refused(base: RandomSource, adapter: Path, value: object) -> None:
    write_json(adapter / "generation_config.json", {"eos_token_id": value})
    with pytest.raises(TokenizerError, match="expected token ids"):
        LoraSource.open(base, adapter)


def test_an_end_of_text_beyond_the_embedding_is_refused(base: RandomSource, adapter: Path) -> None:
    write_json(adapter / "generation_config.json", {"eos_token_id": 512})
    with pytest.raises(
        TokenizerError, match="token 512 begins or ends text, and the embedding has 512 rows"
    ):
        LoraSource.open(base, adapter)


def test_an_end_of_text_that_is_no_token_is_refused(base: RandomSource, adapter: Path) -> None:
    write_json(adapter / "tokenizer_config.json", {"eos_token": "<|im_end|>"})
    with pytest.raises(TokenizerError, match=r"its eos_token '<\|im_end\|>' is not in the vocabulary"):
        LoraSource.open(base, adapter)


@pytest.mark.parametrize("name", ["tokenizer_config.json", "generation_config.json"])
def test_a_file_that_is_no_json_is_refused(base: RandomSource, adapter: Path, name: str) -> None:
    (adapter / name).write_text("[", encoding="utf-8")
    with pytest.raises(CheckpointError, match=rf"{name}: cannot be read as JSON"):
        LoraSource.open(base, adapter)


def test_a_tokenizer_that_is_damaged_is_refused(base: RandomSource, adapter: Path) -> None:
    write_tiny_tokenizer(adapter)
    (adapter / "tokenizer.json").write_text("{}", encoding="utf-8")
    with pytest.raises(TokenizerError, match="cannot be read as a tokenizer"):
        LoraSource.open(base, adapter)


@pytest.mark.parametrize("name", ["config.json", "special_tokens_map.json"])
def test_what_is_not_read_is_said_with_the_reason(base: RandomSource, adapter: Path, name: str) -> None:
    (adapter / name).write_text("{}", encoding="utf-8")
    (remark,) = LoraSource.open(base, adapter).remarks
    assert remark.startswith(f"{name} in the adapter's directory is not read: ")


def test_a_special_tokens_map_beside_an_adapter_s_tokenizer_is_read(
    base: RandomSource, adapter: Path
) -> None:
    write_tiny_tokenizer(adapter)
    (adapter / "special_tokens_map.json").write_text("{}", encoding="utf-8")
    assert not any("is not read" in remark for remark in LoraSource.open(base, adapter).remarks)


def test_files_beside_a_base_and_its_adapter_are_the_bases(tmp_path: Path) -> None:
    directory = write_huggingface(RandomSource(tiny_gemma3()), tmp_path / "both")
    (directory / "chat_template.jinja").write_text(BASES, encoding="utf-8")
    base = HuggingFaceSource.open(directory)
    write_adapter(directory, target_modules=["layers.3.self_attn.q_proj"])
    source = LoraSource.open(base, directory)
    assert source.tokens == base.tokens
    assert source.remarks == ()
    assert set(source.digests()) - set(base.digests()) == {
        "adapter/adapter_config.json",
        "adapter/adapter_model.safetensors",
    }


def begin_with(path: Path, piece: str, token: int) -> None:
    """Have a tokenizer.json put a token before any text."""
    single = [{"SpecialToken": {"id": piece, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    edit(
        path,
        post_processor={
            "type": "TemplateProcessing",
            "single": single,
            "pair": [*single, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {piece: {"id": piece, "ids": [token], "tokens": [piece]}},
        },
    )


def test_what_its_tokenizer_calls_bos_begins_text_in_every_format(
    base: RandomSource, adapter: Path
) -> None:
    write_tiny_tokenizer(adapter)
    edit(adapter / "tokenizer_config.json", bos_token="<start_of_turn>", eos_token="<end_of_turn>")
    write_json(adapter / "generation_config.json", {"bos_token_id": 2})
    source = LoraSource.open(base, adapter)
    assert source.tokens.bos_token == 4
    assert source.architecture["bos_token_id"] == 4
    assert source.architecture["eos_token_id"] == list(source.tokens.stop_tokens) == [5, 1]
    said = "Text begins with token 4, as the adapter says; the base's begins with 2."
    assert said in source.tokens.remarks


@pytest.mark.parametrize(("piece", "token"), [("<bos>", 2), ("<start_of_turn>", 4)])
def test_what_its_tokenizer_json_puts_before_text_is_what_transformers_puts_there(
    base: RandomSource, adapter: Path, piece: str, token: int
) -> None:
    from transformers import AutoTokenizer

    write_tiny_tokenizer(adapter)
    begin_with(adapter / "tokenizer.json", piece, token)
    edit(adapter / "tokenizer_config.json", bos_token="<start_of_turn>")
    tokens = LoraSource.open(base, adapter).tokens
    assert AutoTokenizer.from_pretrained(adapter)("text")["input_ids"][0] == tokens.bos_token == token
    said = "calls <start_of_turn> (4) the bos token, and its tokenizer.json begins text with token 2"
    assert any(said in remark for remark in tokens.remarks) is (token == 2)


def test_a_bos_that_is_no_token_is_refused(base: RandomSource, adapter: Path) -> None:
    write_json(adapter / "tokenizer_config.json", {"bos_token": "<|im_start|>"})
    with pytest.raises(TokenizerError, match=r"its bos_token '<\|im_start\|>' is not in the vocabulary"):
        LoraSource.open(base, adapter)


def test_ends_that_are_the_bases_leave_its_configuration_as_it_is(
    base: RandomSource, adapter: Path
) -> None:
    write_tiny_tokenizer(adapter)
    source = LoraSource.open(base, adapter)
    changed = {"vocab_size", "tie_word_embeddings"}
    for key in ("bos_token_id", "eos_token_id"):
        assert source.architecture.get(key) == base.architecture.get(key)
    assert {**source.architecture, **dict.fromkeys(changed)} == {
        **base.architecture,
        **dict.fromkeys(changed),
    }
