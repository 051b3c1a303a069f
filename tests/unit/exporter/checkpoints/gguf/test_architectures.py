"""Files that are no model of the table: refused by what they are; and embeddings of either length."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from exporter.checkpoints.gguf.architectures import (
    ARCHITECTURES,
    GEMMA3_TOKENIZER_ENTRIES,
    GgufArchitecture,
    recognise,
)
from exporter.checkpoints.gguf.file import GgufFile, GgufTensor
from exporter.checkpoints.gguf.source import GgufSource
from exporter.errors import ExportError, SpecError
from exporter.models.published import published_config
from tests.tiny import VOCABULARY, RandomSource, tiny_gemma3
from tests.unit.exporter.checkpoints.written_gguf import (
    converted_metadata,
    tiny_architecture,
    tiny_vocabulary,
    write_gguf,
)


def refused(metadata: dict[str, Any], what: str, then: str) -> None:
    with pytest.raises(SpecError, match=what) as caught:
        recognise(GgufFile(Path("model.gguf"), metadata, {}), ARCHITECTURES)
    assert "model.gguf" in caught.value.where
    assert then in caught.value.then


@pytest.mark.parametrize(
    "metadata",
    [
        {"general.architecture": "clip", "general.type": "mmproj"},
        {"general.architecture": "clip", "clip.has_vision_encoder": True},
        {"general.architecture": "gemma4", "general.type": "mmproj"},
    ],
)
def test_a_projector_is_refused_and_the_language_model_asked_for(metadata: dict[str, Any]) -> None:
    refused(metadata, r"is the vision or audio projector \(mmproj\)", "give the GGUF of the language model")


def test_an_adapter_is_refused_by_what_it_is() -> None:
    refused({"general.architecture": "gemma3", "general.type": "adapter"}, "is a LoRA adapter", "PEFT")


def test_an_importance_matrix_is_refused_by_what_it_is() -> None:
    refused({"general.type": "imatrix"}, r"is an importance matrix \(imatrix\)", "the GGUF of the model")


@pytest.mark.parametrize("kind", ["vocab", "", "Model"])
def test_a_file_of_another_type_than_a_model_is_refused_by_its_type(kind: str) -> None:
    refused(
        {"general.architecture": "gemma3", "general.type": kind},
        f"is a file of general.type '{kind}', not a model",
        "the GGUF of a model",
    )


@pytest.mark.parametrize(
    ("architecture", "what"),
    [
        ("gemma3n", "is Gemma 3n, which is not supported"),
        ("gemma-embedding", "is an embedding model"),
        ("gemma4-assistant", "is the drafter of a Gemma 4"),
    ],
)
def test_a_relative_of_the_family_is_refused_by_name(architecture: str, what: str) -> None:
    refused({"general.architecture": architecture}, what, "dense Gemma 4")


def test_the_mixture_of_experts_is_refused_by_name() -> None:
    metadata = {
        "general.architecture": "gemma4",
        "gemma4.block_count": 30,
        "gemma4.embedding_length": 2816,
        "gemma4.expert_count": 128,
    }
    refused(metadata, r"mixture of experts \(26B-A4B\)", "E2B, E4B, 12B or 31B")


def test_a_file_with_towers_of_its_own_is_refused_by_what_it_is() -> None:
    metadata = {
        "general.architecture": "gemma3",
        **converted_metadata(published_config("gemma-3-4b")),
        "gemma3.vision.block_count": 27,
    }
    refused(metadata, "holds a model and its towers", "llama.cpp's GGUF")


def test_an_unknown_architecture_is_refused_with_those_that_are_known() -> None:
    refused(
        {"general.architecture": "llama", "llama.block_count": 32}, "a 'llama' of 32 layers", "gemma-2-9b"
    )
    refused({}, "a None of None layers", "gemma-2-9b")


def embedding(rows: int, hidden: int) -> dict[str, GgufTensor]:
    name = "token_embd.weight"
    return {name: GgufTensor(name, gguf.GGMLQuantizationType.F32, (rows, hidden), 0)}


@pytest.mark.parametrize("name", ["gemma-3-4b", "gemma-3-12b", "gemma-3-27b"])
@pytest.mark.parametrize(("rows", "taken"), [(262208, 262208), (262145, 262145), (262144, 262144)])
def test_gemma_3_may_have_the_rows_beyond_its_tokenizer_or_not(name: str, rows: int, taken: int) -> None:
    """Files of Google's have 262 144 rows, others 262 208: the rest has no token."""
    config = published_config(name)
    metadata = {"general.architecture": "gemma3", **converted_metadata(config), "gemma3.vocab_size": taken}
    file = GgufFile(Path("x.gguf"), metadata, embedding(rows, config["hidden_size"]))
    assert recognise(file, ARCHITECTURES).config == {**config, "vocab_size": taken}


def test_other_models_have_every_row() -> None:
    exact = [entry.name for entry in ARCHITECTURES if entry.fewest_tokens == entry.config["vocab_size"]]
    assert exact == [entry.name for entry in ARCHITECTURES if entry.config["vocab_size"] != 262208]
    assert len(exact) == len(ARCHITECTURES) - 3
    assert GEMMA3_TOKENIZER_ENTRIES == 262144


def padded() -> tuple[RandomSource, GgufArchitecture, dict[str, Any]]:
    """A tiny Gemma 3 with 8 embedding rows more than pieces, as the converter lists them."""
    config = {**tiny_gemma3(), "vocab_size": VOCABULARY + 8}
    pieces, scores, kinds = tiny_vocabulary()
    more = [f"[PAD{i}]" for i in range(VOCABULARY + 1, VOCABULARY + 8)]
    metadata = {
        "tokenizer.ggml.tokens": [*pieces, "<image_soft_token>", *more],
        "tokenizer.ggml.scores": scores + [-1000.0] * 8,
        "tokenizer.ggml.token_type": [*kinds, 4, *([5] * 7)],
    }
    return RandomSource(config), replace(tiny_architecture(config), fewest_tokens=VOCABULARY), metadata


def test_rows_without_a_piece_are_rows_of_the_model_and_no_tokens(tmp_path: Path) -> None:
    random, entry, metadata = padded()
    source = GgufSource.open(write_gguf(random, tmp_path / "x.gguf", metadata=metadata), known=(entry,))
    assert source.components["text"].spec.vocab_size == VOCABULARY + 8
    assert source.tensors["model.embed_tokens.weight"].shape[0] == VOCABULARY + 8
    assert source.vocabulary.pieces[-1] == "<image_soft_token>"
    assert len(source.vocabulary.pieces) == VOCABULARY + 1


def test_rows_a_converter_dropped_are_dropped_from_the_spec(tmp_path: Path) -> None:
    _, entry, _ = padded()
    random = RandomSource(tiny_gemma3())  # 8 rows fewer
    source = GgufSource.open(write_gguf(random, tmp_path / "x.gguf"), known=(entry,))
    assert source.components["text"].spec == random.components["text"].spec
    assert source.architecture["vocab_size"] == VOCABULARY
    np.testing.assert_array_equal(
        source.rows("model.norm.weight", 0, 8),
        (random.weights["model.norm.weight"] + np.float32(1) - np.float32(1))[:8],
    )


@pytest.mark.parametrize(
    ("rows", "error", "what"),
    [
        (VOCABULARY - 8, SpecError, "has 504 rows, tiny-gemma has 520: its vocabulary was resized"),
        (VOCABULARY + 4, SpecError, "has 512 entries, tiny-gemma has 516"),
        (VOCABULARY + 12, SpecError, "has 524 rows, tiny-gemma has 520: its vocabulary was resized"),
    ],
)
def test_pieces_and_rows_must_be_as_many(
    tmp_path: Path, rows: int, error: type[ExportError], what: str
) -> None:
    _, entry, _ = padded()
    random = RandomSource({**tiny_gemma3(), "vocab_size": rows})
    path = write_gguf(random, tmp_path / "x.gguf")
    with pytest.raises(error, match=what):
        GgufSource.open(path, known=(entry,))


def test_a_padding_piece_in_the_middle_stays_a_piece(tmp_path: Path) -> None:
    random, entry, metadata = padded()
    tokens = metadata["tokenizer.ggml.tokens"]
    tokens[-2], tokens[-1] = tokens[-1], tokens[-2]  # misnumbered: not the converter's
    path = write_gguf(random, tmp_path / "x.gguf", metadata=metadata)
    source = GgufSource.open(path, known=(entry,))
    assert len(source.vocabulary.pieces) == VOCABULARY + 8
