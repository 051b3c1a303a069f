"""GGUF files that are another model's, contradict our table, or lack what an export needs."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest

from exporter.checkpoints.gguf.source import GgufSource, remarks_on_towers
from exporter.errors import CheckpointError, ExportError, SpecError, TokenizerError
from tests.unit.exporter.checkpoints.written_checkpoints import tiny_source
from tests.unit.exporter.checkpoints.written_gguf import tiny_architecture, tiny_vocabulary, write_gguf

UP = "blk.3.ffn_up.weight"
WINDOW, EPSILON = "gemma3.attention.sliding_window", "gemma3.attention.layer_norm_rms_epsilon"


def opened(path: Path) -> GgufSource:
    return GgufSource.open(path, known=(tiny_architecture(),))


def refused(path: Path, kind: type[ExportError], what: str, where: str = "") -> None:
    with pytest.raises(kind, match=what) as caught:
        opened(path)
    assert (where or str(path)) in caught.value.where
    assert caught.value.then


def test_the_architecture_names_the_special_tokens_of_the_file(tmp_path: Path) -> None:
    source = opened(write_gguf(tiny_source(), tmp_path / "x.gguf"))
    tokens = [source.architecture[f"{token}_token_id"] for token in ("bos", "eos", "pad")]
    assert tokens == [2, 1, 0]
    assert source.tokens.chat_template is not None


def test_the_end_of_a_turn_stops_even_where_only_the_vocabulary_names_it(tmp_path: Path) -> None:
    source = opened(write_gguf(tiny_source(), tmp_path / "x.gguf"))
    assert [source.vocabulary.pieces[i] for i in source.tokens.stop_tokens] == ["<eos>", "<end_of_turn>"]


def test_a_model_that_takes_more_than_text_says_that_its_gguf_does_not() -> None:
    (hearing,) = remarks_on_towers("gemma-4-e2b")
    assert hearing.startswith(
        "gemma-4-e2b takes images and sounds, and its GGUF holds the text model alone"
    )
    (seeing,) = remarks_on_towers("gemma-3-4b")
    assert seeing.startswith("gemma-3-4b takes images, and its GGUF")
    assert remarks_on_towers("gemma-3-270m") == remarks_on_towers("tiny") == ()


def test_one_changed_byte_changes_the_digest(tmp_path: Path) -> None:
    path = write_gguf(tiny_source(), tmp_path / "x.gguf")
    before = opened(path).digests()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert before.keys() == opened(path).digests().keys()
    assert before != opened(path).digests()


def test_an_unknown_architecture_is_refused_by_name(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "llama")
    writer.add_block_count(32)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    refused(tmp_path / "x.gguf", SpecError, "a 'llama' of 32 layers and width None is not a model")


def test_an_unknown_size_of_a_known_family_is_refused(tmp_path: Path) -> None:
    path = write_gguf(tiny_source(), tmp_path / "x.gguf", metadata={"gemma3.block_count": 8})
    refused(path, SpecError, "a 'gemma3' of 8 layers and width 64")


@pytest.mark.parametrize(
    ("key", "value"),
    [(WINDOW, 17), (WINDOW, 16.0), (EPSILON, 1e-5)],
)
def test_metadata_that_contradicts_the_table_is_refused_by_its_key(
    tmp_path: Path, key: str, value: float
) -> None:
    path = write_gguf(tiny_source(), tmp_path / "x.gguf", metadata={key: value})
    refused(path, SpecError, "is .*, tiny-gemma has", key)


def test_a_key_that_the_table_does_not_know_is_refused(tmp_path: Path) -> None:
    path = write_gguf(tiny_source(), tmp_path / "x.gguf", metadata={"gemma3.attention.clamp_kqv": 8.0})
    refused(path, SpecError, "may change what it computes", "gemma3.attention.clamp_kqv")


def test_a_missing_tensor_is_refused(tmp_path: Path) -> None:
    path = write_gguf(tiny_source(), tmp_path / "x.gguf", without=(UP,))
    refused(path, CheckpointError, "tensor model.layers.3.mlp.up_proj.weight is missing")


def test_an_unexpected_tensor_is_refused(tmp_path: Path) -> None:
    source = tiny_source()
    untied = type(source)({**source.architecture, "tie_word_embeddings": False})
    refused(
        write_gguf(untied, tmp_path / "x.gguf"),
        CheckpointError,
        r"output\.weight is not part of a gemma3_text",
    )


def test_another_shape_is_refused(tmp_path: Path) -> None:
    source = tiny_source()
    source.weights["model.layers.3.mlp.up_proj.weight"] = np.zeros((64, 128), np.float32)
    refused(
        write_gguf(source, tmp_path / "x.gguf"),
        CheckpointError,
        r"shape \[64, 128\], config.json says \[128, 64\]",
    )


def test_a_value_that_is_no_number_is_refused(tmp_path: Path) -> None:
    source = tiny_source()
    source.weights["model.layers.3.mlp.up_proj.weight"][70, 5] = np.nan
    bad = opened(write_gguf(source, tmp_path / "x.gguf", kinds=("F16",)))
    with pytest.raises(CheckpointError, match=r"holds nan at \[70, 5\]"):
        bad.rows("model.layers.3.mlp.up_proj.weight", 64, 128)


def test_another_context_length_is_taken_and_remarked_on(tmp_path: Path) -> None:
    plain = opened(write_gguf(tiny_source(), tmp_path / "x.gguf"))
    longer = {"gemma3.context_length": 4096}
    source = opened(write_gguf(tiny_source(), tmp_path / "y.gguf", metadata=longer))
    assert (plain.remarks, source.components["text"].spec.context_length) == ((), 4096)
    (remark,) = source.remarks
    assert "context length is 4096 tokens, tiny-gemma is published with 512" in remark


def test_a_context_length_that_is_none_is_refused(tmp_path: Path) -> None:
    path = write_gguf(tiny_source(), tmp_path / "x.gguf", metadata={"gemma3.context_length": 1 << 30})
    refused(path, SpecError, "is 1073741824, not a number of tokens", "context_length")


def test_a_file_that_names_no_padding_has_its_pad_piece(tmp_path: Path) -> None:
    path = write_gguf(tiny_source(), tmp_path / "x.gguf", without=("tokenizer.ggml.padding_token_id",))
    assert opened(path).tokens.pad_token == 0


@pytest.mark.parametrize(
    ("without", "what"),
    [
        ("tokenizer.ggml.model", "there is no tokenizer"),
        ("tokenizer.ggml.tokens", "tokens, scores or token types are missing"),
        ("tokenizer.ggml.scores", "tokens, scores or token types are missing"),
        ("tokenizer.ggml.bos_token_id", "None is not a token id"),
    ],
)
def test_a_file_without_a_tokenizer_is_refused(tmp_path: Path, without: str, what: str) -> None:
    path = write_gguf(tiny_source(), tmp_path / "x.gguf", without=(without,))
    refused(path, TokenizerError, what)


def test_a_vocabulary_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = write_gguf(tiny_source(), tmp_path / "x.gguf", metadata={"tokenizer.ggml.model": "gpt2"})
    refused(path, TokenizerError, "'gpt2' is not a Gemma's vocabulary")


def test_a_vocabulary_of_another_size_is_refused(tmp_path: Path) -> None:
    pieces, scores, kinds = (column[:-1] for column in tiny_vocabulary())
    shorter = {
        "tokenizer.ggml.tokens": pieces,
        "tokenizer.ggml.scores": scores,
        "tokenizer.ggml.token_type": kinds,
    }
    path = write_gguf(tiny_source(), tmp_path / "x.gguf", metadata=shorter)
    refused(path, SpecError, "has 511 entries, tiny-gemma has 512")


def test_a_token_beyond_the_vocabulary_is_refused(tmp_path: Path) -> None:
    path = write_gguf(tiny_source(), tmp_path / "x.gguf", metadata={"tokenizer.ggml.eos_token_id": 512})
    refused(path, TokenizerError, "512 is not a token id")
