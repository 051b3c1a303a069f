"""Both kinds of vocabulary in GGUF, as files of each age have them, down to the tokens of text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

from exporter.checkpoints.gguf.file import GgufFile, MetadataValue
from exporter.checkpoints.gguf.vocabulary_metadata import GEMMA4_ADDED, read_gguf_tokens, read_vocabulary
from exporter.checkpoints.interface import TokenFacts
from exporter.checkpoints.tokenizer.tokenizer_files import write_tokenizer_files
from exporter.checkpoints.tokenizer.vocabulary import PieceKind, Vocabulary
from exporter.errors import CheckpointError, TokenizerError
from tests.tiny import SPECIAL_TOKENS
from tests.unit.exporter.checkpoints.written_gguf import (
    BYTE,
    CONTROL,
    NORMAL,
    USER_DEFINED,
    gemma4_metadata,
    sentencepiece_metadata,
)

EOS, TURN = "tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"
MESSAGE, TEMPLATE = "tokenizer.ggml.eom_token_id", "tokenizer.chat_template"
TOKENS, SCORES, KINDS, MERGES = (
    f"tokenizer.ggml.{key}" for key in ("tokens", "scores", "token_type", "merges")
)


def file(metadata: dict[str, Any]) -> GgufFile:
    """A header with these keys as `GgufFile` has them."""

    def as_read(value: Any) -> MetadataValue:
        if isinstance(value, list):
            return tuple(value) if isinstance(value[0], str) else np.array(value)
        read: MetadataValue = value
        return read

    return GgufFile(Path("x.gguf"), {key: as_read(value) for key, value in metadata.items()}, {})


def vocabulary_of(metadata: dict[str, Any]) -> Vocabulary:
    return read_vocabulary(file(metadata)).vocabulary


def tokens_of(metadata: dict[str, Any]) -> TokenFacts:
    vocabulary = vocabulary_of(metadata)
    return read_gguf_tokens(file(metadata), vocabulary, len(vocabulary.pieces))


def written(metadata: dict[str, Any], directory: Path) -> dict[str, Any]:
    write_tokenizer_files(vocabulary_of(metadata), tokens_of(metadata), directory)
    content: dict[str, Any] = json.loads((directory / "tokenizer.json").read_text(encoding="utf-8"))
    return content


# Gemma 4's tokenizer.json in small, as its publishers lay it out.
PIECES = [
    *("<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<|turn>", "<turn|>", "<|tool_response>", "<|channel>"),
    *(f"<0x{byte:02X}>" for byte in range(256)),
    *("▁", "\n", "a", "b", "c", "▁▁", "\n\n", "ab", "▁a", "▁ab", "abc", "</s>", "\ufeffa", "\ufeff"),
]
PAIRS = [
    ("▁", "▁"),
    ("\n", "\n"),
    ("a", "b"),
    ("▁", "a"),
    ("▁a", "b"),
    ("▁", "ab"),
    ("ab", "c"),
    ("\ufeff", "a"),
]
ADDED = PIECES[:9]
SHOWN = ("<|tool_response>", "<|channel>")


def published() -> Tokenizer:
    ids = {piece: i for i, piece in enumerate(PIECES)}
    model = models.BPE(ids, PAIRS, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in ADDED])
    return tokenizer


def converted(named: tuple[str, ...] = tuple(ADDED)) -> dict[str, Any]:
    """What llama.cpp's converter makes of it. named: tokens that tokenizer_config.json names."""

    def kind(piece: str) -> int:
        if piece.startswith("<0x"):
            return BYTE
        return USER_DEFINED if piece in SHOWN else CONTROL if piece in named else NORMAL

    return {
        **gemma4_metadata(),
        TOKENS: list(PIECES),
        SCORES: [-1000.0] * len(PIECES),
        KINDS: [kind(piece) for piece in PIECES],
        MERGES: [" ".join(pair) for pair in PAIRS],
    }


TEXTS = (
    "abc ab a  b",
    "a\n\n\n ab\n",
    "<|turn>abc<turn|>\n<|tool_response>",
    "é</s>\ufeffab <mask>",
    "   ab",
    "",
)


def test_gemma_4s_tokenizer_comes_back_as_it_was_published(tmp_path: Path) -> None:
    ours = written(converted(), tmp_path)
    theirs = json.loads(published().to_str())
    for part in ("added_tokens", "normalizer", "pre_tokenizer", "decoder"):
        assert ours[part] == theirs[part], part
    for part in ("vocab", "merges", "unk_token", "byte_fallback", "fuse_unk", "ignore_merges"):
        assert ours["model"][part] == theirs["model"][part], part


def test_it_encodes_and_decodes_as_the_published_one(tmp_path: Path) -> None:
    written(converted(), tmp_path)
    ours, theirs = Tokenizer.from_file(str(tmp_path / "tokenizer.json")), published()
    for text in TEXTS:
        ids = ours.encode(text, add_special_tokens=False).ids
        assert ids == theirs.encode(text).ids, text
        assert ours.decode(ids, skip_special_tokens=False) == text
        assert ours.decode(ids) == theirs.decode(ids)
    assert ours.encode("ab").ids[0] == 2


def test_a_token_its_config_does_not_name_is_special_all_the_same(tmp_path: Path) -> None:
    """Files of chat models that name <turn|> as their end list <eos> as if it were text."""
    metadata = {**converted(named=tuple(token for token in ADDED if token != "<eos>")), EOS: 6}
    assert metadata[KINDS][1] == NORMAL
    assert written(metadata, tmp_path)["added_tokens"] == json.loads(published().to_str())["added_tokens"]
    assert "<eos>" in GEMMA4_ADDED


def test_what_looks_like_an_end_and_is_none_stays_text(tmp_path: Path) -> None:
    added = [token["content"] for token in written(converted(), tmp_path)["added_tokens"]]
    assert "</s>" in PIECES
    assert "</s>" not in added


def test_a_real_chat_model_has_its_24_added_tokens() -> None:
    assert len(GEMMA4_ADDED) == 24


@pytest.mark.parametrize(
    ("merges", "what"),
    [
        (None, "tokenizer.ggml.merges is missing"),
        (["a b", "a"], "'a' does not join"),
        (["a b c"], "'a b c' does not join"),
        (["a x"], "'a x' does not join"),
        (["b a"], "'b a' does not join"),
    ],
)
def test_merges_that_are_none_are_refused(merges: list[str] | None, what: str) -> None:
    metadata = {**converted(), MERGES: merges}
    if merges is None:
        del metadata[MERGES]
    with pytest.raises(TokenizerError, match=what) as caught:
        vocabulary_of(metadata)
    assert "x.gguf" in caught.value.where


@pytest.mark.parametrize("model", ["gpt2", "bert", None])
def test_another_kind_of_vocabulary_is_refused(model: str | None) -> None:
    metadata = {**sentencepiece_metadata(), "tokenizer.ggml.model": model}
    if model is None:
        del metadata["tokenizer.ggml.model"]
    with pytest.raises(
        TokenizerError, match="not a Gemma's vocabulary" if model else "there is no tokenizer"
    ):
        vocabulary_of(metadata)


def test_columns_of_different_lengths_are_refused() -> None:
    metadata = sentencepiece_metadata()
    metadata[KINDS] = metadata[KINDS][:-1]
    with pytest.raises(TokenizerError, match="512 pieces, 512 scores and 511 types"):
        vocabulary_of(metadata)


def as_of_february_2024() -> dict[str, Any]:
    """As converters wrote Gemma 1 and the first Gemma 2: user-defined pieces typed as normal ones."""
    metadata = sentencepiece_metadata()
    pieces = [*SPECIAL_TOKENS[:4], "<mask>", "<2mass>", *SPECIAL_TOKENS[4:], "\n\n", "▁▁", "<table>"]
    kinds = [3, 3, 3, 2] + [1] * (len(pieces) - 4) + [6] * 256
    pieces += [f"<0x{byte:02X}>" for byte in range(256)]
    scores = [0.0] * len(pieces)
    for i, piece in enumerate(("▁a", "▁", "a", "\t", "\t\t", "<unused99>")):
        pieces.append(piece)
        scores.append(0.0 if piece in ("\t\t", "<unused99>") else -float(i))
        kinds.append(1)
    return {**metadata, TOKENS: pieces, SCORES: scores, KINDS: kinds}


def test_old_files_user_defined_pieces_are_found_by_their_place(tmp_path: Path) -> None:
    metadata = as_of_february_2024()
    vocabulary = vocabulary_of(metadata)
    found = [vocabulary.pieces[i] for i in vocabulary.ids(PieceKind.USER_DEFINED)]
    assert found == ["<mask>", "<2mass>", "<start_of_turn>", "<end_of_turn>", "\n\n", "▁▁", "<table>"]
    special = {
        token["content"] for token in written(metadata, tmp_path)["added_tokens"] if token["special"]
    }
    # As Google's tokenizer.json of Gemma 2 has it (its digest begins 7da53ca2).
    assert special == {"<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"}


def test_old_files_keep_a_chats_markers_whole(tmp_path: Path) -> None:
    written(as_of_february_2024(), tmp_path)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    tokens = tokenizer.encode("<start_of_turn>a<table><end_of_turn>", add_special_tokens=False).tokens
    assert tokens == ["<start_of_turn>", "a", "<table>", "<end_of_turn>"]
    assert tokenizer.decode(tokenizer.encode("<start_of_turn>a").ids) == "a"


@pytest.mark.parametrize("named", ["<mask>", "<2mass>", "[@BOS@]", "<unused0>"])
def test_control_pieces_that_stand_for_nothing_are_not_special(tmp_path: Path, named: str) -> None:
    metadata = sentencepiece_metadata()
    metadata[TOKENS] = [named if piece == "<unused300>" else piece for piece in metadata[TOKENS]]
    if named not in metadata[TOKENS]:
        metadata[TOKENS][-1] = named
    token = next(t for t in written(metadata, tmp_path)["added_tokens"] if t["content"] == named)
    assert token["special"] is False


@pytest.mark.parametrize(
    ("metadata", "changes", "stops"),
    [
        (sentencepiece_metadata(), {}, ["<eos>", "<end_of_turn>"]),
        (sentencepiece_metadata(), {EOS: 5}, ["<end_of_turn>", "<eos>"]),
        (sentencepiece_metadata(), {TURN: 4}, ["<eos>", "<start_of_turn>", "<end_of_turn>"]),
        (sentencepiece_metadata(), {MESSAGE: 4}, ["<eos>", "<start_of_turn>", "<end_of_turn>"]),
        (gemma4_metadata(), {}, ["<eos>", "<turn|>", "<|tool_response>"]),
        (gemma4_metadata(), {EOS: 7}, ["<turn|>", "<eos>", "<|tool_response>"]),
    ],
)
def test_text_and_turns_end_whichever_of_the_ends_a_file_names(
    metadata: dict[str, Any], changes: dict[str, int], stops: list[str]
) -> None:
    tokens = tokens_of({**metadata, **changes})
    assert [metadata[TOKENS][token] for token in tokens.stop_tokens] == stops
    assert tokens.stop_tokens[0] == tokens.eos_token


@pytest.mark.parametrize("value", [None, 512, -1, "1", True])
def test_an_id_that_is_none_is_refused(value: object) -> None:
    metadata = {**sentencepiece_metadata(), EOS: value}
    with pytest.raises(TokenizerError, match="is not a token id") as caught:
        tokens_of(metadata)
    assert caught.value.where == f"x.gguf: {EOS}"


@pytest.mark.parametrize("key", [TEMPLATE, f"{TEMPLATE}.tool_use"])
def test_a_template_that_is_no_text_is_refused_by_its_type(key: str) -> None:
    with pytest.raises(CheckpointError, match="expected a text, got 5") as caught:
        tokens_of({**sentencepiece_metadata(), key: 5})
    assert caught.value.where == f"x.gguf: {key}"


def test_templates_beside_the_default_are_named_in_a_remark() -> None:
    own = sentencepiece_metadata()
    others = {f"{TEMPLATE}.{name}": f"{name} {own[TEMPLATE]}" for name in ("tool_use", "rag")}
    remarks = tokens_of({**own, **others, f"{TEMPLATE}.same": own[TEMPLATE]}).remarks
    assert remarks[0] == "Of the file's chat templates, these are not in the release: rag, tool_use."


@pytest.mark.parametrize("score", [float("nan"), float("-inf"), float("inf")])
def test_a_score_that_is_no_finite_number_is_refused(score: float) -> None:
    metadata = sentencepiece_metadata()
    metadata[SCORES] = [*metadata[SCORES][:-1], score]
    with pytest.raises(TokenizerError, match="no finite numbers") as caught:
        vocabulary_of(metadata)
    assert caught.value.where == f"x.gguf: {SCORES}"


@pytest.mark.parametrize(("kind", "spelled"), [(True, "bool"), (1.0, "float64")])
def test_token_types_that_are_no_integers_are_refused(kind: object, spelled: str) -> None:
    with pytest.raises(TokenizerError, match=f"expected integers, got {spelled}") as caught:
        vocabulary_of({**sentencepiece_metadata(), KINDS: [kind] * 512})
    assert caught.value.where == f"x.gguf: {KINDS}"
