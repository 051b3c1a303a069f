"""Calibration text: sequences in turns of every domain, a user's own, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from exporter.errors import UsageError
from exporter.reference.calibration_text import CalibrationText, calibration_text
from exporter.reference.overlap import first_shared
from exporter.reference.texts import Texts
from exporter.resources import data_directory
from tests.tiny import RandomSource, tiny_gemma3

SOURCE = RandomSource(tiny_gemma3())
TEXTS = Texts.of(SOURCE)
LENGTH = min(256, SOURCE.components["text"].spec.context_length)


def read(*files: Path) -> CalibrationText:
    return calibration_text(SOURCE, TEXTS, files)


def test_what_ships_is_cut_into_whole_sequences_behind_the_beginning_of_text() -> None:
    found = read()
    assert found.sequences.shape[1] == LENGTH
    assert (found.sequences[:, 0] == TEXTS.bos_token).all()
    assert found.tokens >= 25_600


def test_every_domain_has_its_turn_before_any_has_its_second() -> None:
    found = read()
    firsts = {tuple(sequence[:32].tolist()) for sequence in found.sequences[: len(found.names)]}
    for path in (data_directory("samples") / "calibration").glob("*.txt"):
        begin = TEXTS.prompt(path.read_text(encoding="utf-8")[:2000])[:32]
        assert tuple(begin.tolist()) in firsts


def test_a_users_own_text_and_conversations_take_its_place(tmp_path: Path) -> None:
    (tmp_path / "own.txt").write_text("words of our own, " * 400)
    turns = [{"role": "user", "content": "hello " * 100}, {"role": "assistant", "content": "yes " * 100}]
    (tmp_path / "talk.json").write_text(json.dumps([turns] * 8))
    found = read(tmp_path / "own.txt", tmp_path / "talk.json")
    assert found.names == ("own", "talk")
    assert len(found.sequences) > 2
    assert found.sha256 != read(tmp_path / "own.txt").sha256


def test_too_little_text_says_how_much_there_is_and_how_much_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "own.txt").write_text("a few words " * 100)
    found = read(tmp_path / "own.txt")
    with pytest.raises(UsageError, match=rf"\(own\): has {found.tokens} tokens .* wants 25600; add text"):
        found.first(25_600)


def test_a_beginning_holds_as_many_tokens_as_asked_for() -> None:
    found = read()
    assert found.first(1000).tokens >= 1000
    np.testing.assert_array_equal(found.first(1000).sequences, found.sequences[: -(-1000 // LENGTH)])


@pytest.mark.parametrize(
    "judged", ["evaluation/1-english.txt", "languages/hindi.txt", "languages/code.txt"]
)
def test_text_that_releases_are_judged_on_is_refused_wherever_it_stands(
    judged: str, tmp_path: Path
) -> None:
    known = (data_directory("samples") / judged).read_text(encoding="utf-8")
    passage = "\n   ".join(known[200:400].split(" "))  # blanks do not hide it
    (tmp_path / "own.txt").write_text(
        "some text of our own, " * 50 + passage + " and more", encoding="utf-8"
    )
    with pytest.raises(UsageError, match=rf"own.txt: holds text that releases are judged on \({judged}"):
        read(tmp_path / "own.txt")


def test_text_that_releases_are_judged_on_is_refused_however_its_letters_are_spelt(tmp_path: Path) -> None:
    known = (data_directory("samples") / "languages/russian.txt").read_text(encoding="utf-8")
    (tmp_path / "own.txt").write_text(json.dumps({"text": known}), encoding="ascii")
    with pytest.raises(UsageError, match=r"releases are judged on \(languages/russian.txt"):
        read(tmp_path / "own.txt")


def test_conversations_are_read_as_such_whatever_the_case_of_the_files_name(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "hello " * 100}, {"role": "assistant", "content": "yes " * 100}]
    for name in ("talk.json", "talk.JSON"):
        (tmp_path / name).write_text(json.dumps([turns] * 8))
    assert read(tmp_path / "talk.JSON").sha256 == read(tmp_path / "talk.json").sha256


@pytest.mark.parametrize("name", ["talk.jsonl", "talk.JSONL", "talk.ndjson"])
def test_json_line_by_line_is_not_taken_for_text(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(json.dumps({"text": "words of our own"}) * 400)
    with pytest.raises(UsageError, match=r"is JSON line by line.*as one list to a \.json"):
        read(tmp_path / name)


def test_the_mark_that_editors_put_before_a_text_is_none_of_it(tmp_path: Path) -> None:
    text = "words of our own, " * 400
    (tmp_path / "own.txt").write_text(text, encoding="utf-8")
    (tmp_path / "marked.txt").write_text(text, encoding="utf-8-sig")
    assert read(tmp_path / "marked.txt").sha256 == read(tmp_path / "own.txt").sha256


@pytest.mark.parametrize("content", [b"\xff\xfe\x00a", None])
def test_what_is_no_text_is_refused(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "own.txt").write_bytes(content)
    with pytest.raises(UsageError, match=r"own.txt: cannot be read as text"):
        read(tmp_path / "own.txt")


def test_text_in_16_bits_that_does_not_say_so_is_refused(tmp_path: Path) -> None:
    content = ("some text of our own\n" * 3 + "and more").encode("utf-16-le")
    assert content.decode("utf-8"), "each of its bytes is a character of UTF-8"
    (tmp_path / "own.txt").write_bytes(content)
    with pytest.raises(UsageError, match=r"own.txt: is no UTF-8 text: line 1 has a NUL"):
        read(tmp_path / "own.txt")


def test_alike_is_not_the_same() -> None:
    others = {Path("a.txt"): "The quick tests of a long sentence that is in both of them, word by word."}
    assert first_shared("A quick test of another long sentence.", others) is None
    shared = first_shared("So: a long sentence\n that is in both of them, word by word.", others)
    assert shared == (Path("a.txt"), " a long sentence that is in both of them")
