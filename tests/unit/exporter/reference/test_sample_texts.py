"""The calibration corpus in `samples/`: what is in it, and that nothing models are compared on is."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from exporter.checkpoints.open import open_source
from exporter.reference.texts import TOKENIZER_NAME, load_tokenizer
from exporter.resources import data_directory

SAMPLES = data_directory("samples")
CALIBRATION = SAMPLES / "calibration"
COMPARED_ON = (SAMPLES / "evaluation", SAMPLES / "languages")

WINDOW = 40
"""Characters in a row that no two texts may share."""
SENTENCE = re.compile(r"[^.!?。！？؟।\n]{11,}(?:[.!?](?=\s|$)|[。！？؟।])")
"""At least 12 characters of one line up to what ends it: the short answers of a dialogue are anybody's."""

SCRIPTS = {
    "arabic": ("ء", "ي"),
    "bengali": ("অ", "ৱ"),
    "chinese": ("一", "龥"),
    "hindi": ("अ", "ॿ"),
    "japanese": ("ぁ", "ヶ"),
    "korean": ("가", "힣"),
    "russian": ("А", "я"),
}
OTHER_DOMAINS = {"chat", "code", "mathematics"}


def messages(path: Path) -> list[str]:
    return [message["content"] for conversation in conversations(path) for message in conversation]


def conversations(path: Path) -> list[list[dict[str, str]]]:
    found: list[list[dict[str, str]]] = json.loads(path.read_text(encoding="utf-8"))
    return found


def texts(directory: Path) -> dict[str, str]:
    """By file name; of conversations the messages alone."""
    prose = {path.name: path.read_text(encoding="utf-8") for path in sorted(directory.glob("*.txt"))}
    chats = {path.name: "\n\n".join(messages(path)) for path in sorted(directory.glob("*.json"))}
    return prose | chats


def overlaps(text: str, other: str) -> set[str]:
    """What both hold: windows of 40 characters, and sentences, which are shorter in many scripts.

    A difference in white space is none.
    """
    return (windows(text) & windows(other)) | (sentences(text) & sentences(other))


def windows(text: str) -> set[str]:
    flat = " ".join(text.split())
    return {flat[start : start + WINDOW] for start in range(len(flat) - WINDOW + 1)}


def sentences(text: str) -> set[str]:
    return {" ".join(sentence.split()) for sentence in SENTENCE.findall(text)}


def paragraphs(text: str) -> list[str]:
    return [paragraph.strip() for paragraph in text.split("\n\n")]


@pytest.mark.parametrize("directory", COMPARED_ON, ids=lambda directory: directory.name)
def test_nothing_a_model_is_compared_on_is_in_the_calibration_corpus(directory: Path) -> None:
    compared = texts(directory)
    assert compared
    shared = {
        (ours, theirs): found
        for ours, text in texts(CALIBRATION).items()
        for theirs, other in compared.items()
        if (found := overlaps(text, other))
    }
    assert shared == {}


def test_a_sentence_taken_from_the_evaluation_text_would_be_found() -> None:
    evaluation = texts(SAMPLES / "evaluation")
    english, japanese = evaluation["1-english.txt"], evaluation["2-japanese.txt"]
    ours = texts(CALIBRATION)["english-prose.txt"]
    assert not overlaps(ours, english)
    taken = english[300 : 300 + WINDOW].replace(" ", "\n ")  # broken into lines, it is the same text
    assert overlaps(ours + taken, english)
    assert not overlaps(ours + taken[: WINDOW // 2], english)
    short = "主人は代金を受け取らなかった。"
    assert short in japanese
    assert len(short) < WINDOW
    assert overlaps(ours + short, japanese) == {short}


def test_the_corpus_is_in_sixteen_languages_code_mathematics_and_chat() -> None:
    domains = {Path(name).stem.split("-")[0] for name in texts(CALIBRATION)}
    assert domains > OTHER_DOMAINS | set(SCRIPTS)
    assert len(domains - OTHER_DOMAINS) == 16


@pytest.mark.parametrize("language", SCRIPTS)
def test_a_language_is_written_in_its_own_script(language: str) -> None:
    first, last = SCRIPTS[language]
    text = texts(CALIBRATION)[f"{language}.txt"]
    assert sum(first <= letter <= last for letter in text) > len(text) / 4


def test_no_paragraph_is_there_twice() -> None:
    found = [paragraph for text in texts(CALIBRATION).values() for paragraph in paragraphs(text)]
    long = [paragraph for paragraph in found if len(paragraph) >= WINDOW]
    assert all(found)
    assert len(long) > 250
    assert len(set(long)) == len(long)


def test_the_conversations_are_turns_of_a_user_and_an_assistant() -> None:
    found = conversations(CALIBRATION / "chat.json")
    assert len(found) >= 12
    for conversation in found:
        roles = [message["role"] for message in conversation]
        assert roles == ["user", "assistant"] * (len(conversation) // 2) != []
        assert all(message.keys() == {"role", "content"} for message in conversation)
        assert all(message["content"].strip() == message["content"] != "" for message in conversation)


@pytest.mark.sample
def test_the_corpus_is_as_long_in_tokens_of_gemma_3_as_its_description_says(tmp_path: Path) -> None:
    open_source(None).write_tokenizer(tmp_path)
    tokenizer = load_tokenizer(tmp_path / TOKENIZER_NAME)
    counts = {
        name: len(tokenizer.encode(text.strip(), add_special_tokens=False).ids)
        for name, text in texts(CALIBRATION).items()
    }
    description = (CALIBRATION / "README.md").read_text(encoding="utf-8")
    assert sum(counts.values()) >= 27_000
    assert f"{sum(counts.values()):,} tokens" in description
    for name, count in counts.items():
        assert f"| `{name}` | {count:,} |" in description, (name, count)
