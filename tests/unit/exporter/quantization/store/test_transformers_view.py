"""transformers' own loader against our reading of the same checkpoint: equal to the last bit.

Matrix: every integer scheme and both float ones on linears, the tied embedding int8, int4 and float.
Asserted are weights (max abs 0.0) and logits (max abs 0.0 against a model filled from our values).
Not asserted: that the codes are good ones.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from exporter.errors import QuantizedCheckpointError
from exporter.models.text.spec import Role
from exporter.quantization.quantize import write_quantized
from exporter.quantization.store.checkpoint import QuantizedCheckpoint
from exporter.quantization.store.transformers_view import hidden_embeddings, load_linears, load_model
from exporter.schemes import (
    ASYMMETRIC,
    FP16,
    FP32,
    INT4_CHANNEL,
    INT4_G32,
    INT4_G32_ZP,
    INT8_CHANNEL,
    INT8_G16,
    INT8_G32,
    SYMMETRIC,
    Scheme,
    scheme_holding,
)
from tests.fakes import silent
from tests.holding_source import HoldingSource
from tests.tiny import RandomSource, tiny_gemma3

EMBEDDING = "model.embed_tokens.weight"
UP = "model.layers.3.mlp.up_proj.weight"
TURNS: tuple[Scheme, ...] = (INT4_G32, INT8_CHANNEL, FP16, INT4_CHANNEL, FP32, INT8_G32, INT8_G16)
WIDE = tiny_gemma3() | {"hidden_size": 128}  # groups of 128 divide every input


def quantised(directory: Path, embedding: Scheme, linears: tuple[Scheme, ...]) -> QuantizedCheckpoint:
    source = RandomSource(WIDE)
    names = [weight.name for weight in source.components["text"].weights if weight.role is Role.LINEAR]
    schemes = {name: linears[i % len(linears)] for i, name in enumerate(names)}
    return write_quantized(source, schemes | {EMBEDDING: embedding}, directory, silent)


def logits(model: Any) -> torch.Tensor:
    tokens = torch.arange(40)[None] * 7 % 512
    with torch.no_grad():
        found: torch.Tensor = model(tokens).logits
    return found


@pytest.mark.parametrize(
    ("embedding", "linears"),
    [
        (INT8_CHANNEL, TURNS),
        (INT8_CHANNEL, (INT8_CHANNEL,)),
        (INT8_CHANNEL, (INT4_G32,)),
        (FP16, (INT4_G32, INT8_CHANNEL)),
        (FP32, (FP32,)),
        (INT8_G16, (INT8_G32,)),
        (INT8_CHANNEL, SYMMETRIC),
        (INT4_G32_ZP, ASYMMETRIC),
    ],
)
def test_transformers_reads_what_we_read(
    tmp_path: Path, embedding: Scheme, linears: tuple[Scheme, ...]
) -> None:
    assert_transformers_reads(tmp_path, quantised(tmp_path, embedding, linears))


def test_transformers_reads_codes_taken_over_with_scales_of_either_sign(tmp_path: Path) -> None:
    source = HoldingSource(tiny_gemma3(), kinds=("Q4_0", "Q5_0", "Q8_0", "Q6_K"))
    held = {name: scheme for name, each in source.held.items() if (scheme := scheme_holding(each))}
    checkpoint = write_quantized(
        source, {**held, EMBEDDING: INT8_G32}, tmp_path, silent, frozenset(source.held)
    )
    assert_transformers_reads(tmp_path, checkpoint)


def assert_transformers_reads(directory: Path, checkpoint: QuantizedCheckpoint) -> None:
    """The same weights, and from them the same logits, as ours in a plain model."""
    model = load_model(directory)
    parameters = dict(model.named_parameters())
    assert set(parameters) == set(checkpoint.matrices) | set(checkpoint.vectors)
    stored = {name: matrix.values(0, matrix.shape[0]) for name, matrix in checkpoint.matrices.items()}
    stored |= checkpoint.vectors
    for name, values in stored.items():
        assert torch.equal(parameters[name], torch.from_numpy(values.copy())), name
    assert model.lm_head.weight is model.model.embed_tokens.weight

    plain = type(model)._from_config(type(model.config)(**_architecture(checkpoint))).eval()
    state = {name: torch.from_numpy(values.copy()) for name, values in stored.items()}
    plain.load_state_dict(state, strict=False)
    assert torch.equal(logits(model), logits(plain))


def test_a_changed_code_changes_the_logits(tmp_path: Path) -> None:
    checkpoint = quantised(tmp_path, INT8_CHANNEL, (INT4_G32,))
    before = logits(load_model(tmp_path))
    file = checkpoint.matrices[UP].file
    data = bytearray(file.path.read_bytes())
    data[file.tensors[f"{UP}_packed"].begin] ^= 0x07
    file.path.write_bytes(data)
    assert not torch.equal(logits(load_model(tmp_path)), before)


def test_a_changed_zero_point_changes_the_logits(tmp_path: Path) -> None:
    checkpoint = quantised(tmp_path, INT8_CHANNEL, (INT4_G32_ZP,))
    before = logits(load_model(tmp_path))
    file = checkpoint.matrices[UP].file
    data = bytearray(file.path.read_bytes())
    data[file.tensors[f"{UP}_zero_point"].begin] ^= 0x07
    file.path.write_bytes(data)
    assert not torch.equal(logits(load_model(tmp_path)), before)


def test_a_tensor_of_another_shape_than_the_models_is_an_error(tmp_path: Path) -> None:
    quantised(tmp_path, INT8_CHANNEL, (INT4_G32_ZP,))
    path = tmp_path / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(config | {"intermediate_size": 256}), encoding="utf-8")
    with pytest.raises(QuantizedCheckpointError, match=r"transformers' loader says: .*up_proj"):
        load_linears(tmp_path)


def test_only_a_quantised_embedding_is_hidden_from_the_loader(tmp_path: Path) -> None:
    checkpoint = quantised(tmp_path / "a", INT8_CHANNEL, (INT4_G32,))
    assert hidden_embeddings(checkpoint) == (EMBEDDING,)
    assert hidden_embeddings(quantised(tmp_path / "b", FP16, (INT4_G32,))) == ()
    index = json.loads((tmp_path / "a" / "model.safetensors.index.json").read_text(encoding="utf-8"))
    assert not [name for name in index["weight_map"] if name.startswith(EMBEDDING)]


def test_what_else_the_loader_misses_is_an_error(tmp_path: Path) -> None:
    quantised(tmp_path, INT8_CHANNEL, (INT4_G32,))
    path = tmp_path / "model.safetensors.index.json"
    index = json.loads(path.read_text(encoding="utf-8"))
    shown = {name: file for name, file in index["weight_map"].items() if not name.startswith(UP)}
    path.write_text(json.dumps(index | {"weight_map": shown}), encoding="utf-8")
    with pytest.raises(QuantizedCheckpointError, match=f"{UP}_packed is missing"):
        load_linears(tmp_path)


def _architecture(checkpoint: QuantizedCheckpoint) -> dict[str, Any]:
    kept = dict(checkpoint.record["architecture"])
    del kept["model_type"]
    return kept
