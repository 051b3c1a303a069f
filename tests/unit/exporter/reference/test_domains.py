from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from exporter.checkpoints.interface import TokenFacts
from exporter.errors import TokenizerError, UsageError
from exporter.reference.domains import Domain, read_conversations, read_domains
from exporter.reference.texts import Texts
from exporter.resources import data_directory
from tests.chat_templates import GEMMA_3
from tests.tiny import RandomSource, tiny_gemma3

SAMPLES = data_directory("samples")
LANGUAGES = {
    "arabic": "ءي",
    "chinese": "一龥",
    "english": "az",
    "french": "àÿ",
    "german": "ßü",
    "hindi": "अह",
    "japanese": "ぁん",
    "korean": "가힣",
    "russian": "ая",
    "spanish": "áú",
}
HELLO = '[[{"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Yes?"}]]'


@dataclass(frozen=True)
class Chatting(RandomSource):
    """template: of its chats, None for none."""

    template: str | None = None

    @property
    def tokens(self) -> TokenFacts:
        return replace(super().tokens, chat_template=self.template)


def domains(directory: Path, template: str | None = None) -> dict[str, Domain]:
    source = Chatting(tiny_gemma3(), template=template)
    return {each.name: each for each in read_domains(directory, source, Texts.of(source))}


def written(domain: Domain) -> str:
    """What a domain's tokens behind the first spell."""
    tokenizer = Texts.of(RandomSource(tiny_gemma3())).tokenizer
    return str(tokenizer.decode(domain.text.tokens[1:].tolist(), skip_special_tokens=False))


def sentences(text: str) -> set[str]:
    """Those long enough to be somebody's."""
    found = re.split(r"[.!?。！？؟।\n]+", text)
    return {each.strip() for each in found if len(each.strip()) > 12}


def lines(text: str) -> set[str]:
    """Those of code that are no idiom of their language."""
    return {line.strip() for line in text.splitlines() if len(line.strip()) > 40}


def test_what_ships_is_ten_languages_code_and_chat() -> None:
    found = domains(SAMPLES / "languages")
    assert sorted(found) == sorted([*LANGUAGES, "code", "chat"])
    assert {name for name, each in found.items() if each.kind == "language"} == set(LANGUAGES)
    assert (found["code"].kind, found["chat"].kind) == ("code", "chat")
    for each in found.values():
        assert each.text.tokens[0] == 2
        assert len(each.text.tokens) == each.text.available > 700


@pytest.mark.parametrize("name", LANGUAGES)
def test_a_language_is_written_in_its_own_letters(name: str) -> None:
    first, last = tuple(LANGUAGES[name])
    text = (SAMPLES / "languages" / f"{name}.txt").read_text(encoding="utf-8")
    assert sum(first <= letter <= last for letter in text) > 40


@pytest.mark.parametrize("other", ["evaluation", "calibration"])
def test_no_sentence_and_no_line_of_code_stands_in_another_text_of_ours(other: str) -> None:
    pieces = [each for each in (SAMPLES / other).rglob("*") if each.suffix in {".txt", ".json"}]
    assert pieces
    theirs = "\n".join(each.read_text(encoding="utf-8").replace("\\n", "\n") for each in pieces)
    conversations = read_conversations(SAMPLES / "languages" / "chat.json")
    prose = [content for turns in conversations for _, content in turns]
    prose += [
        (SAMPLES / "languages" / f"{language}.txt").read_text(encoding="utf-8") for language in LANGUAGES
    ]
    assert sentences("\n".join(prose)) & sentences(theirs) == set()
    code = (SAMPLES / "languages" / "code.txt").read_text(encoding="utf-8")
    assert lines(code) & lines(theirs) == set()


def test_chat_is_written_by_the_template_after_one_beginning_of_text(tmp_path: Path) -> None:
    conversation = json.loads(HELLO)
    (tmp_path / "chat.json").write_text(json.dumps(conversation * 2))
    chat = domains(tmp_path, GEMMA_3)["chat"]
    turns = "<start_of_turn>user\nHello.<end_of_turn>\n<start_of_turn>model\nYes?<end_of_turn>\n"
    assert written(chat) == turns * 2
    assert chat.text.tokens[0] == 2
    assert 2 not in chat.text.tokens[1:]
    assert chat.remark is None


def test_chat_without_a_template_is_plain_text_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "chat.json").write_text(HELLO)
    chat = domains(tmp_path)["chat"]
    assert written(chat) == "User: Hello.\n\nAssistant: Yes?"
    assert chat.remark == "The checkpoint has no chat template: chat is plain text."


@pytest.mark.parametrize(
    ("template", "remark"),
    [
        ("{{ raise_exception('Which language?') }}", "does not render chat (Which language?)"),
        ("{{ messages[0]['content'] }}", "leaves out messages"),
    ],
)
def test_chat_that_a_template_does_not_write_is_plain_text_and_says_why(
    tmp_path: Path, template: str, remark: str
) -> None:
    (tmp_path / "chat.json").write_text(HELLO)
    chat = domains(tmp_path, template)["chat"]
    assert written(chat) == "User: Hello.\n\nAssistant: Yes?"
    assert chat.remark is not None
    assert remark in chat.remark


@pytest.mark.parametrize(
    "written",
    [
        "{}",
        "[]",
        "[[]]",
        '["Hello."]',
        '[[{"role": "user", "content": "Hello."}]]',
        HELLO.replace("user", "system"),
        HELLO.replace('"Yes?"', "7"),
        HELLO.replace('"Yes?"', '"Yes?", "name": "Ada"'),
    ],
)
def test_what_is_no_conversation_is_refused_by_its_place(tmp_path: Path, written: str) -> None:
    (tmp_path / "chat.json").write_text(written)
    with pytest.raises(UsageError, match=r"chat\.json: conversation.*user and assistant take turns"):
        read_conversations(tmp_path / "chat.json")


def test_a_conversation_is_refused_by_its_number(tmp_path: Path) -> None:
    (tmp_path / "chat.json").write_text(f"{HELLO[:-1]}, []]")
    with pytest.raises(UsageError, match="conversation 2"):
        read_conversations(tmp_path / "chat.json")


def test_a_file_that_is_not_json_is_refused_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "chat.json").write_text("[")
    with pytest.raises(UsageError, match=r"chat\.json: cannot be read"):
        read_conversations(tmp_path / "chat.json")


def test_a_directory_without_domains_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no \.txt file and no chat\.json"):
        domains(tmp_path)


def test_a_token_without_a_row_is_refused_in_its_domain(tmp_path: Path) -> None:
    (tmp_path / "english.txt").write_text("Hello.")
    source = RandomSource(tiny_gemma3())
    few = replace(Texts.of(source), rows=50)
    with pytest.raises(TokenizerError, match="the english text: holds token"):
        read_domains(tmp_path, source, few)
