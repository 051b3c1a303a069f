"""A prompt as a model is given it: `<bos>` once, in the chat template where there is one, and not twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from exporter.errors import ExportError, TokenizerError
from exporter.running.placed_release import PlacedRelease
from exporter.running.prompt_tokens import Speech, speech_of
from runtimes.errors import RuntimeUnavailable
from runtimes.manifest import read_manifest
from tests.tiny import write_tiny_tokenizer
from tests.unit.exporter.packaging.test_release import of_schema_1, sealed

BOS = 2
CHAT = (
    "{{ bos_token }}{% for message in messages %}<start_of_turn>{{ message['role'] }}\n"
    "{{ message['content'] | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)


def with_tokenizer(release: Path, template: str | None = None) -> Path:
    """tokenizer.json and tokenizer_config.json go beside a sealed release's files."""
    write_tiny_tokenizer(release)
    config = {"tokenizer_class": "GemmaTokenizer", "bos_token": "<bos>", "eos_token": "<eos>"}
    if template is not None:
        config["chat_template"] = template
    (release / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return release


def speech(tmp_path: Path, template: str | None = None) -> Speech:
    return speech_of(PlacedRelease.open(with_tokenizer(sealed(tmp_path), template)))


def text(of: Speech, ids: list[int]) -> str:
    found: str = of.tokenizer.decode(ids, skip_special_tokens=False)
    return found


@pytest.mark.parametrize("prompt", ["hello", "", "<bos>hello", "  blanks ", "世界 🙂"])
def test_a_base_model_gets_the_text_behind_one_bos(prompt: str, tmp_path: Path) -> None:
    base = speech(tmp_path)
    ids = base.prompt(prompt)
    assert ids[0] == BOS
    assert ids.count(BOS) == 1
    assert text(base, ids[1:]) == prompt.removeprefix("<bos>")


@pytest.mark.parametrize("template", [CHAT, CHAT.removeprefix("{{ bos_token }}")])
def test_a_chat_template_is_rendered_and_bos_stands_once_whether_it_writes_it_or_not(
    template: str, tmp_path: Path
) -> None:
    chat = speech(tmp_path, template)
    ids = chat.prompt("  hello ")
    assert (ids[0], ids.count(BOS)) == (BOS, 1)
    assert text(chat, ids[1:]).startswith("<start_of_turn>user\nhello<end_of_turn>\n<start_of_turn>model")


def test_without_its_template_a_chat_model_gets_the_text(tmp_path: Path) -> None:
    chat = speech(tmp_path, CHAT)
    assert text(chat, chat.prompt("hello", plain=True)[1:]) == "hello"


def test_an_empty_question_is_one_too(tmp_path: Path) -> None:
    chat = speech(tmp_path, CHAT)
    assert "<start_of_turn>user\n<end_of_turn>" in text(chat, chat.prompt(""))


def test_a_template_that_refuses_says_why_and_what_to_do(tmp_path: Path) -> None:
    chat = speech(tmp_path, "{{ raise_exception('languages are missing') }}")
    with pytest.raises(TokenizerError, match=r"languages are missing.*--no-template"):
        chat.prompt("hello")


def test_a_template_that_never_ends_is_stopped(tmp_path: Path) -> None:
    endless = "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}"
    with pytest.raises(TokenizerError, match="took longer than"):
        speech(tmp_path, endless).prompt("hello")


def test_the_manifest_says_which_tokens_begin_and_stop(tmp_path: Path) -> None:
    release = with_tokenizer(sealed(tmp_path))
    found = speech_of(PlacedRelease.open(release))
    assert found.tokens == read_manifest(release).tokens
    assert found.tokens.bos_token == BOS
    assert found.tokens.stop_tokens
    assert found.remarks == ()


def test_an_older_release_stops_at_the_end_of_text_alone_and_says_so(tmp_path: Path) -> None:
    found = speech_of(PlacedRelease.open(with_tokenizer(of_schema_1(tmp_path))))
    assert (found.tokens.bos_token, found.tokens.stop_tokens) == (BOS, (1,))
    assert "stops at <eos> alone" in found.remarks[0]


def test_an_older_release_that_does_not_say_is_refused(tmp_path: Path) -> None:
    release = with_tokenizer(of_schema_1(tmp_path))
    (release / "tokenizer_config.json").write_text('{"tokenizer_class": "Other"}', encoding="utf-8")
    with pytest.raises(ExportError, match="does not say which tokens begin and end a text"):
        speech_of(PlacedRelease.open(release))


def test_a_package_that_is_missing_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = speech(tmp_path, CHAT)
    monkeypatch.setattr("exporter.running.prompt_tokens.find_spec", lambda name: None)
    with pytest.raises(RuntimeUnavailable, match=r"jinja2.*gemma-export\[run\]"):
        chat.prompt("hello")
    with pytest.raises(RuntimeUnavailable, match=r"tokenizers.*gemma-export\[run\]"):
        speech_of(PlacedRelease.open(tmp_path / "release"))


def test_a_tokenizer_that_is_damaged_is_refused(tmp_path: Path) -> None:
    release = with_tokenizer(sealed(tmp_path))
    (release / "tokenizer.json").write_text("{", encoding="utf-8")
    with pytest.raises(TokenizerError, match="cannot be read"):
        speech_of(PlacedRelease.open(release))
