"""tokenizer.json made from a vocabulary: against SentencePiece itself, and against Google's own file."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from exporter.checkpoints.interface import TokenFacts
from exporter.checkpoints.open import open_source
from exporter.checkpoints.tokenizer.sentencepiece_model import read_sentencepiece
from exporter.checkpoints.tokenizer.tokenizer_files import write_tokenizer_files
from exporter.checkpoints.tokenizer.vocabulary import PieceKind, Vocabulary
from exporter.errors import TokenizerError
from tests.unit.exporter.checkpoints.written_gguf import tiny_vocabulary

# SHA-256 of Google's tokenizer.json of Gemma 3 (its own file's digest begins 4667f208), parsed and
# written with sorted keys, without <image_soft_token>: the text models have no row for that id.
OFFICIAL = "4ea788db9138ccf1d68265d3e25c9b2442d7b823a9dc5946a732fe27019f8e9d"
TEXTS = (
    "Hello, world! The quick brown fox.",
    "def f(x):\n    return  x ** 2  # square\n\n\n",
    "吾輩は猫である。名前はまだ無い。",
    "وُلِدَ الحُبُّ",
    "🙂👩‍👩‍👧 ﬁ ＡＢＣ \u200d\ufeff",
    "   \t\t leading and trailing   ",
    "a" + " " * 70 + "b" + "\n" * 40 + "\t" * 35,
    "<start_of_turn>user\nhi<end_of_turn>\n<unused5><mask>",
    "▁▁ literal ▁blanks",
    "",
)


def trained_model(tmp_path: Path, **settings: Any) -> Path:
    """A Gemma-like SentencePiece model trained on this test's own text."""
    import sentencepiece

    model = io.BytesIO()
    gemma_like: dict[str, Any] = {
        "model_type": "bpe",
        "vocab_size": 600,
        "byte_fallback": True,
        "add_dummy_prefix": False,
        "remove_extra_whitespaces": False,
        "normalization_rule_name": "identity",
        "split_digits": True,
        "allow_whitespace_only_pieces": True,
        "pad_id": 0,
        "eos_id": 1,
        "bos_id": 2,
        "unk_id": 3,
        "pad_piece": "<pad>",
        "eos_piece": "<eos>",
        "bos_piece": "<bos>",
        "user_defined_symbols": ["▁▁", "▁▁▁", "\n\n", "<table>"],
        "minloglevel": 2,
    }
    sentences = [*TEXTS, *Path(__file__).read_text(encoding="utf-8").split("\n")]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences), model_writer=model, **(gemma_like | settings)
    )
    path = tmp_path / "tokenizer.model"
    path.write_bytes(model.getvalue())
    return path


def as_tokenizer(vocabulary: Vocabulary, directory: Path) -> Tokenizer:
    write_tokenizer_files(vocabulary, TokenFacts(2, 1, 0, (1,), None), directory)
    return Tokenizer.from_file(str(directory / "tokenizer.json"))


def test_it_encodes_as_sentencepiece_does(tmp_path: Path) -> None:
    import sentencepiece

    path = trained_model(tmp_path)
    ours = as_tokenizer(read_sentencepiece(path), tmp_path)
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(path))
    for text in [*TEXTS[:6], *Path(__file__).read_text(encoding="utf-8").split("\n")]:
        # tokenizer.json, Google's too, finds these in a text where SentencePiece does not; ▁ is read as a
        # blank, and written as one.
        if any(each in text for each in ("<pad>", "<eos>", "<bos>", "<unk>", "▁")):
            continue
        ids = ours.encode(text, add_special_tokens=False).ids
        assert ids == theirs.encode(text), text
        assert ours.decode(ids) == text


def test_the_start_token_is_added_once(tmp_path: Path) -> None:
    tokenizer = as_tokenizer(read_sentencepiece(trained_model(tmp_path)), tmp_path)
    assert tokenizer.encode("fox").ids[0] == 2
    assert 2 not in tokenizer.encode("fox", add_special_tokens=False).ids


@pytest.mark.parametrize(
    ("settings", "lacking"),
    [
        ({"model_type": "unigram"}, "model_type BPE"),
        ({"byte_fallback": False}, "byte_fallback"),
        ({"add_dummy_prefix": True}, "no add_dummy_prefix"),
        ({"normalization_rule_name": "nmt_nfkc"}, "no character map"),
    ],
)
def test_a_model_that_tokenizer_json_would_not_repeat_is_refused(
    tmp_path: Path, settings: dict[str, Any], lacking: str
) -> None:
    with pytest.raises(TokenizerError, match=f"not a Gemma vocabulary .*{lacking}"):
        read_sentencepiece(trained_model(tmp_path, **settings))


def test_a_damaged_sentencepiece_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(b"\xff" * 100)
    with pytest.raises(TokenizerError, match="cannot be read as a SentencePiece model"):
        read_sentencepiece(tmp_path / "tokenizer.model")


def test_a_piece_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = trained_model(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"<table>", b"<tabl\xff>"))
    with pytest.raises(TokenizerError, match="has a piece that is not UTF-8"):
        read_sentencepiece(path)


def test_a_vocabulary_without_an_unknown_token_is_refused(tmp_path: Path) -> None:
    vocabulary = Vocabulary.checked("x", ["<pad>", "a"], [0.0, 0.0], [3, 1])
    with pytest.raises(TokenizerError, match="has no <unk>"):
        write_tokenizer_files(vocabulary, TokenFacts(0, 0, 0, (0,), None), tmp_path)


@pytest.mark.parametrize(
    ("pieces", "scores", "kinds", "what"),
    [
        (["a", "b"], [0.0], [1, 1], "2 pieces, 1 scores"),
        (["a"], [0.0], [7], "unknown token type 7"),
        (["▁▁", "  "], [0.0, 0.0], [4, 4], "'▁▁' twice"),
    ],
)
def test_columns_that_are_no_vocabulary_are_refused(
    pieces: list[str], scores: list[float], kinds: list[int], what: str
) -> None:
    with pytest.raises(TokenizerError, match=what):
        Vocabulary.checked("x.gguf", pieces, scores, kinds)


def test_blanks_are_spelled_as_sentencepiece_spells_them() -> None:
    vocabulary = Vocabulary.checked("x.gguf", *tiny_vocabulary())
    assert [vocabulary.pieces[i] for i in vocabulary.ids(PieceKind.USER_DEFINED)] == ["▁▁", "▁▁▁"]


@pytest.mark.sample
def test_the_samples_tokenizer_is_googles_own_piece_for_piece(tmp_path: Path) -> None:
    source = open_source("sample")
    source.write_tokenizer(tmp_path)
    made = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    assert digest(made) == OFFICIAL
    made["model"]["merges"][100_000].reverse()
    assert digest(made) != OFFICIAL


def digest(tokenizer: dict[str, Any]) -> str:
    """Of the content, whatever the layout of the file."""
    text = json.dumps(tokenizer, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
