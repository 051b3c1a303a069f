"""Hub directories that are incomplete, damaged, hostile or of another kind, each refused by name."""

from __future__ import annotations

import json
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from exporter.checkpoints.huggingface.source import HuggingFaceSource
from exporter.errors import CheckpointError, ExportError, SpecError, TokenizerError
from tests.tiny import tiny_gemma3
from tests.unit.exporter.checkpoints.written_checkpoints import (
    as_stored,
    tiny_source,
    write_huggingface,
    write_json,
)

WEIGHTS = "model.safetensors"
EMBEDDING = "model.embed_tokens.weight"
UP = "model.layers.3.mlp.up_proj.weight"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return write_huggingface(tiny_source(), tmp_path / "Tiny Gemma")


def refused(path: Path, kind: type[ExportError], what: str, where: str = "") -> None:
    """Opening is refused with where, what and what to do."""
    with pytest.raises(kind, match=what) as caught:
        HuggingFaceSource.open(path)
    assert (where or str(path)) in caught.value.where
    assert caught.value.then


def with_tensors(directory: Path, **changed: torch.Tensor | None) -> None:
    """Write the weights again, some of them changed or (None) left out. Dots are written as __."""
    tensors: dict[str, Any] = load_file(directory / WEIGHTS)
    tensors |= {name.replace("__", "."): values for name, values in changed.items()}
    save_file({name: values for name, values in tensors.items() if values is not None}, directory / WEIGHTS)


def edit_json(path: Path, **changed: Any) -> None:
    write_json(path, json.loads(path.read_text(encoding="utf-8")) | changed)


def test_its_name_is_the_directorys_in_plain_letters(directory: Path) -> None:
    assert HuggingFaceSource.open(directory).name == "tiny-gemma"


def test_in_the_hubs_cache_its_name_is_the_repositorys(tmp_path: Path) -> None:
    snapshot = (
        tmp_path / "models--google--gemma-3-270m" / "snapshots" / "9b0cfec892e2bc2afd938c98eabe4e4a7b1e0ca1"
    )
    snapshot.mkdir(parents=True)
    assert HuggingFaceSource.open(write_huggingface(tiny_source(), snapshot)).name == "gemma-3-270m"


@pytest.mark.parametrize("name", ["README.md", "LICENSE"])
def test_a_document_that_leads_nowhere_is_refused_before_the_work(directory: Path, name: str) -> None:
    (directory / name).symlink_to("absent")
    with pytest.raises(CheckpointError, match=f"{name}: is a link that leads nowhere"):
        HuggingFaceSource.open(directory)


def test_a_directory_of_ones_own_called_snapshots_is_not_the_hubs_cache(tmp_path: Path) -> None:
    mine = tmp_path / "snapshots" / "of-monday" / "tiny-gemma"
    mine.mkdir(parents=True)
    assert HuggingFaceSource.open(write_huggingface(tiny_source(), mine)).name == "tiny-gemma"


def test_links_into_the_hubs_blobs_are_followed(tmp_path: Path) -> None:
    repository = tmp_path / "models--google--gemma-3-270m"
    snapshot, blobs = repository / "snapshots" / "main", repository / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    write_huggingface(tiny_source(), snapshot)
    for path in list(snapshot.iterdir()):
        path.rename(blobs / path.name)
        path.symlink_to(Path("../../blobs") / path.name)
    linked = tmp_path / "linked"
    linked.symlink_to(snapshot)
    folder = snapshot / "unquantised"
    folder.mkdir()
    for path in list(snapshot.iterdir()):
        if path != folder:
            (folder / path.name).symlink_to(Path("../../../blobs") / path.name)
    for place in (snapshot, linked, folder):
        source = HuggingFaceSource.open(place)
        assert source.rows(EMBEDDING, 0, 1).shape == (1, 64)
        assert source.name == "gemma-3-270m"


def test_stop_tokens_and_template_come_from_the_files_that_generate_reads(directory: Path) -> None:
    tokens = HuggingFaceSource.open(directory).tokens
    assert (tokens.bos_token, tokens.eos_token, tokens.pad_token) == (2, 1, 0)
    assert tokens.stop_tokens == (1, 5)
    assert tokens.chat_template is None
    edit_json(directory / "tokenizer_config.json", chat_template=[{"name": "default", "template": "named"}])
    assert HuggingFaceSource.open(directory).tokens.chat_template == "named"
    (directory / "chat_template.jinja").write_text("own file", encoding="utf-8")
    assert HuggingFaceSource.open(directory).tokens.chat_template == "own file"


@pytest.mark.parametrize(
    "prefix", ["", "language_model.", "language_model.model.", "model.language_model."]
)
def test_a_text_model_saved_without_its_head_or_out_of_another_is_read(
    directory: Path, prefix: str
) -> None:
    expected = HuggingFaceSource.open(directory)
    rows = expected.rows(UP, 3, 9)
    stored = load_file(directory / WEIGHTS)
    save_file(
        {prefix + name.removeprefix("model."): tensor for name, tensor in stored.items()},
        directory / WEIGHTS,
    )
    source = HuggingFaceSource.open(directory)
    assert source.tensors == expected.tensors
    np.testing.assert_array_equal(source.rows(UP, 3, 9), rows)


def test_what_config_json_leaves_out_or_says_in_vain_is_remarked_on(directory: Path) -> None:
    assert HuggingFaceSource.open(directory).remarks == ()
    config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    del config["rms_norm_eps"]
    write_json(directory / "config.json", {**config, "attn_logit_softcapping": 50.0})
    default, vain = HuggingFaceSource.open(directory).remarks
    assert "rms_norm_eps (1e-06)" in default
    assert "attn_logit_softcapping to 50.0, which transformers' Gemma 3 does not apply" in vain


def test_an_unknown_key_is_named_with_its_line(directory: Path) -> None:
    config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    text = json.dumps({"altup_coef_clip": 1, **config}, indent=1)
    (directory / "config.json").write_text(text, encoding="utf-8")
    refused(directory, SpecError, "unknown key 'altup_coef_clip' in line 2; .* delete it there")


def test_one_changed_byte_changes_the_digests(directory: Path) -> None:
    before = HuggingFaceSource.open(directory).digests()
    assert {WEIGHTS, "config.json", "tokenizer.json"} <= set(before)
    data = bytearray((directory / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (directory / WEIGHTS).write_bytes(data)
    after = HuggingFaceSource.open(directory).digests()
    assert {name for name in before if before[name] != after[name]} == {WEIGHTS}


def test_a_stored_copy_of_the_tied_head_is_accepted(directory: Path) -> None:
    with_tensors(directory, lm_head__weight=load_file(directory / WEIGHTS)[EMBEDDING].clone())
    assert "lm_head.weight" not in HuggingFaceSource.open(directory).tensors


def test_a_head_that_is_no_copy_of_the_tied_embedding_is_refused(directory: Path) -> None:
    head = load_file(directory / WEIGHTS)[EMBEDDING].clone()
    head[-1, -1] += 1
    with_tensors(directory, lm_head__weight=head)
    refused(directory, CheckpointError, "lm_head.weight differs", WEIGHTS)


def test_an_untied_head_is_a_weight_like_any_other(tmp_path: Path) -> None:
    source = tiny_source()
    untied = type(source)({**tiny_gemma3(), "tie_word_embeddings": False})
    opened = HuggingFaceSource.open(write_huggingface(untied, tmp_path / "untied"))
    expected = as_stored(untied.weights["lm_head.weight"], "BF16")
    np.testing.assert_array_equal(opened.rows("lm_head.weight", 0, 512), expected)


def test_a_missing_tensor_is_refused(directory: Path) -> None:
    with_tensors(directory, **{UP.replace(".", "__"): None})
    refused(directory, CheckpointError, f"tensor {UP} is missing")


def test_an_unexpected_tensor_is_refused(directory: Path) -> None:
    with_tensors(directory, model__layers__9__mlp__up_proj__weight=torch.zeros(2))
    refused(directory, CheckpointError, "layers.9.mlp.up_proj.weight is not part of a gemma3_text")


def test_another_shape_is_refused(directory: Path) -> None:
    with_tensors(directory, **{UP.replace(".", "__"): torch.zeros(64, 128)})
    refused(directory, CheckpointError, r"shape \[64, 128\], config.json says \[128, 64\]")


@pytest.mark.parametrize("dtype", [torch.int8, torch.float64, torch.float8_e4m3fn])
def test_another_dtype_is_refused(directory: Path, dtype: torch.dtype) -> None:
    with_tensors(directory, **{UP.replace(".", "__"): torch.zeros(128, 64).to(dtype)})
    refused(directory, CheckpointError, f"tensor {UP} is stored as ")


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_value_that_is_no_number_is_refused_with_tensor_and_position(directory: Path, bad: float) -> None:
    values = load_file(directory / WEIGHTS)[UP].clone()
    values[70, 5] = values[90, 0] = bad
    with_tensors(directory, **{UP.replace(".", "__"): values})
    source = HuggingFaceSource.open(directory)
    source.rows(UP, 0, 64)
    with pytest.raises(CheckpointError, match=rf"tensor {UP} holds {bad} at \[70, 5\]"):
        source.rows(UP, 64, 128)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "consolidated.00.pth"])
def test_a_checkpoint_of_pickles_is_refused_and_not_opened(directory: Path, name: str) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.write_text, (directory / "ran", "x"))

    (directory / name).write_bytes(pickle.dumps(Bomb()))
    (directory / WEIGHTS).unlink()
    refused(directory, CheckpointError, "is a pickle, which runs code", name)
    assert not (directory / "ran").exists()


def test_a_directory_without_weights_is_refused(directory: Path) -> None:
    (directory / WEIGHTS).unlink()
    refused(directory, CheckpointError, "there is no model.safetensors")


def test_a_directory_without_config_is_refused(directory: Path) -> None:
    (directory / "config.json").unlink()
    refused(directory, SpecError, "no such file")


def test_an_unknown_model_type_is_refused_by_name(directory: Path) -> None:
    edit_json(directory / "config.json", model_type="llama")
    refused(directory, SpecError, "'llama' is not supported")


def test_a_quantisation_that_is_not_read_is_refused_by_name(directory: Path) -> None:
    edit_json(directory / "config.json", quantization_config={"quant_method": "gptq"})
    refused(directory, CheckpointError, "quant_method: is 'gptq': .*; give the unquantised checkpoint")


def test_what_mlx_quantised_is_refused_by_name(directory: Path) -> None:
    edit_json(directory / "config.json", quantization={"group_size": 64, "bits": 4})
    refused(directory, CheckpointError, "MLX quantised it, into codes that are not read; give the unquant")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_pointer_of_git_lfs_is_called_that(directory: Path, name: str) -> None:
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 1234\n"
    (directory / name).write_text(pointer, encoding="utf-8")
    refused(
        directory, CheckpointError, f"{name}: is a pointer of Git LFS, not the file itself; run `git lfs"
    )


def test_a_pipe_in_the_place_of_a_file_is_refused(directory: Path) -> None:
    (directory / "config.json").unlink()
    os.mkfifo(directory / "config.json")
    refused(directory, CheckpointError, r"config\.json: is not a plain file")


def test_a_directory_without_a_tokenizer_is_refused(directory: Path) -> None:
    (directory / "tokenizer.json").unlink()
    refused(directory, TokenizerError, "there is no tokenizer.json and no tokenizer.model")


def test_a_tokenizer_that_cannot_be_read_is_refused(directory: Path, tmp_path: Path) -> None:
    (directory / "tokenizer.json").write_text("{}", encoding="utf-8")
    with pytest.raises(TokenizerError, match="cannot be read as a tokenizer"):
        HuggingFaceSource.open(directory).write_tokenizer(tmp_path)


def test_a_tokenizer_that_lacks_the_pad_token_is_refused(directory: Path, tmp_path: Path) -> None:
    edit_json(directory / "config.json", pad_token_id=100_000)
    with pytest.raises(TokenizerError, match="has no token 100000, which the model's config"):
        HuggingFaceSource.open(directory).write_tokenizer(tmp_path)


def test_a_special_token_that_is_no_id_is_refused(directory: Path) -> None:
    edit_json(directory / "config.json", bos_token_id="<bos>")
    refused(directory, TokenizerError, "expected a token id", "bos_token_id")


def test_a_tokenizer_config_is_made_where_there_is_none(directory: Path, tmp_path: Path) -> None:
    (directory / "tokenizer_config.json").unlink()
    (directory / "chat_template.jinja").write_text("{{ messages }}", encoding="utf-8")
    HuggingFaceSource.open(directory).write_tokenizer(tmp_path)
    made = json.loads((tmp_path / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert (made["bos_token"], made["chat_template"]) == ("<bos>", "{{ messages }}")


@pytest.mark.parametrize(
    ("header", "what"),
    [
        (b"[]", "expected an object"),
        (b"{", "not readable JSON"),
        (b"[" * 100_000, "not readable JSON"),
        (b'{"a":{},"a":{}}', "the key 'a' is there twice"),
        (b'{"a":{"dtype":"F32","shape":[1]}}', "entry of tensor a is malformed"),
        (b'{"a":{"dtype":"F31","shape":[1],"data_offsets":[0,4]}}', "unknown dtype 'F31'"),
        (b'{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}', "impossible shape"),
        (b'{"a":{"dtype":"F32","shape":[true],"data_offsets":[0,4]}}', "impossible shape"),
        (b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}', "its shape .* does not"),
        (b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}', "lies at bytes 4 to 0"),
        (b'{"a":{"dtype":"F32","shape":[99],"data_offsets":[0,396]}}', "lies at bytes 0 to 396"),
    ],
)
def test_a_header_that_contradicts_itself_is_refused(directory: Path, header: bytes, what: str) -> None:
    (directory / WEIGHTS).write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 8)
    refused(directory, CheckpointError, what, WEIGHTS)
