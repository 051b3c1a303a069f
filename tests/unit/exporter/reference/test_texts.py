from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from exporter.errors import TokenizerError, UsageError
from exporter.reference.texts import load_tokenizer, read_evaluation_text
from exporter.resources import data_directory
from tests.tiny import write_tiny_tokenizer

EVALUATION = data_directory("samples") / "evaluation"


def test_pieces_are_joined_in_order_after_the_beginning_of_text(tmp_path: Path) -> None:
    write_tiny_tokenizer(tmp_path)
    (tmp_path / "b.txt").write_text("b\n")
    (tmp_path / "a.txt").write_text("a")
    tokenizer = load_tokenizer(tmp_path / "tokenizer.json")
    text = read_evaluation_text(tmp_path, tokenizer, 2)
    assert text.tokens[0] == 2
    assert tokenizer.decode(text.tokens[1:].tolist()) == "a\n\nb"
    assert text.name == "a, b"


def test_a_limit_cuts_the_text_and_changes_its_digest(tmp_path: Path) -> None:
    write_tiny_tokenizer(tmp_path)
    tokenizer = load_tokenizer(tmp_path / "tokenizer.json")
    whole = read_evaluation_text(EVALUATION, tokenizer, 2)
    cut = read_evaluation_text(EVALUATION, tokenizer, 2, limit=50)
    assert len(cut.tokens) == 50
    assert np.array_equal(cut.tokens, whole.tokens[:50])
    assert cut.available == whole.available == len(whole.tokens)
    assert cut.sha256 != whole.sha256


def test_the_text_that_ships_is_prose_code_and_two_other_scripts() -> None:
    text = "".join(piece.read_text(encoding="utf-8") for piece in EVALUATION.glob("*.txt"))
    for first, last in (("a", "z"), ("ぁ", "ん"), ("一", "龥"), ("ء", "ي")):
        assert sum(first <= letter <= last for letter in text) > 50, (first, last)
    assert "def " in text


def test_a_directory_without_text_is_refused(tmp_path: Path) -> None:
    write_tiny_tokenizer(tmp_path)
    with pytest.raises(UsageError, match=r"no \.txt"):
        read_evaluation_text(tmp_path, load_tokenizer(tmp_path / "tokenizer.json"), 2)


def test_a_damaged_tokenizer_is_refused_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(TokenizerError, match=r"tokenizer\.json: cannot be read"):
        load_tokenizer(tmp_path / "tokenizer.json")
