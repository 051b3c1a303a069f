"""Stop tokens and chat template of a Hub directory: who says what, what is taken, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from exporter.checkpoints.files.checkpoint_directory import CheckpointDirectory
from exporter.checkpoints.interface import TokenFacts
from exporter.checkpoints.tokenizer.token_facts import read_token_facts
from exporter.errors import TokenizerError
from tests.tiny import VOCABULARY, write_tiny_tokenizer
from tests.unit.exporter.checkpoints.written_checkpoints import write_json

IDS = {"bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0}
GEMMA = (
    "{{ bos_token }}{% for m in messages %}<start_of_turn>{{ m['role'] }}\n{{ m['content'] | trim }}"
    "<end_of_turn>\n{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    write_tiny_tokenizer(tmp_path)
    return tmp_path


def facts(directory: Path, rows: int = VOCABULARY, **ids: Any) -> TokenFacts:
    return read_token_facts(CheckpointDirectory(directory), {**IDS, **ids}, rows)


def tokenizer_config(directory: Path, **keys: Any) -> None:
    write_json(directory / "tokenizer_config.json", keys)


def template(directory: Path, source: str) -> None:
    (directory / "chat_template.jinja").write_text(source, encoding="utf-8")


def test_a_base_model_stops_where_its_config_says(directory: Path) -> None:
    found = facts(directory)
    assert (found.stop_tokens, found.turn_end, found.remarks) == ((1,), None, ())


def test_the_templates_own_end_of_turn_is_a_stop_and_the_report_says_so(directory: Path) -> None:
    template(directory, GEMMA)
    found = facts(directory)
    assert (found.stop_tokens, found.turn_end) == ((1, 5), "<end_of_turn>")
    assert found.remarks == (
        "Every format stops at 1 (<eos>) and 5 (<end_of_turn>): config.json says 1 (<eos>), "
        "the chat template adds 5 (<end_of_turn>).",
    )


def test_files_that_agree_are_not_remarked_on(directory: Path) -> None:
    template(directory, GEMMA)
    write_json(directory / "generation_config.json", {"eos_token_id": [1, 5]})
    assert facts(directory).remarks == ()


def test_all_that_say_so_are_joined(directory: Path) -> None:
    template(directory, GEMMA)
    tokenizer_config(directory, eos_token={"content": "<unk>", "special": True})
    write_json(directory / "generation_config.json", {"eos_token_id": 9})
    found = facts(directory, eos_token_id=[1, 8])
    assert found.stop_tokens == (9, 1, 8, 3, 5)
    (remark,) = found.remarks
    assert "config.json adds 1 (<eos>) and 8, tokenizer_config.json adds 3 (<unk>)" in remark


@pytest.mark.parametrize(
    ("source", "end"),
    [
        ("{% for m in messages %}{{ m['content'] }}{{ eos_token }}{% endfor %}", "<eos>"),
        ("{% for m in messages %}<start_of_turn>{{ m['content'] }}\n{% endfor %}", None),
        ("{% for m in messages %}{{ m['content'][0]['text'] }}<end_of_turn>{% endfor %}", "<end_of_turn>"),
        (
            "{% for m in messages %}{%- generation -%}{{ m.content }}<end_of_turn>"
            "{% endgeneration %}{% endfor %}",
            "<end_of_turn>",
        ),
        ("{{ raise_exception('no') }}", None),
    ],
)
def test_what_ends_an_answer_is_found_by_rendering_one(
    directory: Path, source: str, end: str | None
) -> None:
    template(directory, source)
    found = facts(directory)
    assert found.turn_end == end
    assert (end is None) == any("No token that ends an answer" in remark for remark in found.remarks)


@pytest.mark.parametrize(
    ("ids", "rows", "what"),
    [
        ({"bos_token_id": 512}, 512, "bos_token_id is token 512, and the embedding has 512 rows"),
        ({"eos_token_id": [1, 600]}, 512, "stop token 600"),
        ({}, 5, "stop token <end_of_turn> is token 5, and the embedding has 5 rows"),
    ],
)
def test_a_token_without_a_row_is_refused(
    directory: Path, ids: dict[str, Any], rows: int, what: str
) -> None:
    template(directory, GEMMA)
    with pytest.raises(TokenizerError, match=what):
        facts(directory, rows, **ids)


def test_a_model_that_nothing_pads_is_padded_with_the_family_s_token(directory: Path) -> None:
    assert facts(directory, pad_token_id=-1).pad_token == 0
    write_json(directory / "generation_config.json", {"pad_token_id": -1})
    assert facts(directory, pad_token_id=3).pad_token == 3


def test_an_id_larger_than_any_runtime_s_is_refused(directory: Path) -> None:
    with pytest.raises(TokenizerError, match="pad_token_id: expected a token id"):
        facts(directory, pad_token_id=10**30)


@pytest.mark.parametrize("name", ["config.json", "generation_config.json"])
def test_a_wrong_id_is_told_of_the_file_that_has_it(directory: Path, name: str) -> None:
    if name == "config.json":
        (directory / "generation_config.json").unlink(missing_ok=True)
        with pytest.raises(TokenizerError, match=r"[^_]config.json: eos_token_id: expected a token id"):
            facts(directory, eos_token_id="one")
        return
    write_json(directory / name, {"eos_token_id": "one"})
    with pytest.raises(TokenizerError, match=r"generation_config.json: eos_token_id: expected a token id"):
        facts(directory)


def test_a_marker_of_the_template_without_a_row_is_refused(directory: Path) -> None:
    template(directory, "{% for m in messages %}<end_of_turn>{{ m.content }}<eos>{% endfor %}")
    with pytest.raises(TokenizerError, match="<end_of_turn> of the chat template is token 5"):
        facts(directory, 5)


def test_a_tokenizer_larger_than_the_embedding_is_named(directory: Path) -> None:
    (remark,) = facts(directory, 5).remarks
    assert remark == (
        "The tokenizer has 512 tokens and the embedding 5 rows: text with a token that has none, "
        "among them <end_of_turn>, cannot be run."
    )


def test_templates_are_looked_for_in_the_order_transformers_has(directory: Path) -> None:
    write_json(directory / "chat_template.json", {"chat_template": "the processor's"})
    assert facts(directory).chat_template == "the processor's"
    tokenizer_config(directory, chat_template="the tokenizer's")
    assert facts(directory).chat_template == "the tokenizer's"
    template(directory, "a file's own")
    found = facts(directory)
    assert found.chat_template == "a file's own"
    for other in ("tokenizer_config.json", "chat_template.json"):
        assert any(f"{other} has another, which was not taken" in remark for remark in found.remarks)


def test_the_default_of_a_list_is_taken_and_the_others_named(directory: Path) -> None:
    listed = [{"name": "rag", "template": "documents"}, {"name": "default", "template": "plain"}]
    tokenizer_config(directory, chat_template=listed)
    found = facts(directory)
    assert found.chat_template == "plain"
    assert any(remark.endswith("these are not in the release: rag.") for remark in found.remarks)


def test_the_only_template_of_a_list_is_taken_whatever_its_name(directory: Path) -> None:
    tokenizer_config(directory, chat_template=[{"name": "chatml", "template": "plain"}])
    found = facts(directory)
    assert found.chat_template == "plain"
    assert any("The only chat template, chatml" in remark for remark in found.remarks)


@pytest.mark.parametrize(
    ("stated", "what"),
    [
        (
            [{"name": "rag", "template": "a"}, {"name": "tool_use", "template": "b"}],
            "has the chat templates rag, tool_use and none is called default",
        ),
        ([{"name": "default"}], "neither Jinja source nor a list of named templates"),
        ([], "neither Jinja source"),
        (7, "neither Jinja source"),
    ],
)
def test_templates_that_cannot_be_told_apart_are_refused(directory: Path, stated: Any, what: str) -> None:
    tokenizer_config(directory, chat_template=stated)
    with pytest.raises(TokenizerError, match=what):
        facts(directory)


def test_additional_templates_are_named_and_not_taken(directory: Path) -> None:
    (directory / "additional_chat_templates").mkdir()
    (directory / "additional_chat_templates" / "rag.jinja").write_text("x", encoding="utf-8")
    found = facts(directory)
    assert found.chat_template is None
    assert "additional_chat_templates are not in the release, and there is no default" in found.remarks[0]
