"""LiteRT-LM's engine against our driver on a tiny bundle of every family: the same greedy tokens.

Matrix: the tiny model of each family x int8-channel weights, and E2B x every scheme of its tables; prompts
shorter and longer than the window and the prefill chunk (many, because a random model soon repeats
itself). Among them are two head sizes, shared caches, and Gemma 4 E's embedders. Not asserted: that the
tokens are right (tests/contracts/test_lowering.py), sampling, other backends.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from exporter.lowering.litert.lowering import LiteRtLowering
from exporter.models.text.spec import Role
from exporter.quantization.quantize import write_quantized
from exporter.quantization.store.checkpoint import QuantizedCheckpoint
from exporter.schemes import FP16, FP32, INT4_CHANNEL, INT4_G32, INT8_CHANNEL, Scheme
from tests.fakes import silent
from tests.parity.litert_lm_engine import engine_pieces, greedy_tokens
from tests.tiny import TINY_CONFIGS, VOCABULARY, WINDOW, RandomSource, tiny_gemma4_e2b
from tests.tiny_releases import CHUNK, lowering_order, quantized, some_tokens

BOS, STOP = 2, 1
LENGTHS = (1, 5, CHUNK - 1, CHUNK, WINDOW + 3, 2 * CHUNK + 1, WINDOW + CHUNK + 9, 50)
COUNT = 6


def write_word_tokenizer(path: Path) -> None:
    """One word per token, so that text says which tokens it was."""
    words = {word: token for token, word in enumerate(_words(list(range(VOCABULARY))))}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="w3"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(path))


@pytest.mark.parametrize("family", TINY_CONFIGS)
def test_the_engine_continues_with_the_same_tokens(family: str, tmp_path: Path) -> None:
    _require_the_same_tokens(tmp_path, quantized(tmp_path, TINY_CONFIGS[family](), INT8_CHANNEL))


@pytest.mark.parametrize("tables", [INT4_CHANNEL, INT4_G32, FP16, FP32], ids=lambda scheme: scheme.name)
def test_the_engine_looks_up_tables_of_every_scheme(tables: Scheme, tmp_path: Path) -> None:
    source = RandomSource(tiny_gemma4_e2b())
    schemes = {
        weight.name: INT8_CHANNEL if weight.role is Role.LINEAR else tables
        for weight in source.components["text"].weights
        if weight.is_matrix
    }
    _require_the_same_tokens(tmp_path, write_quantized(source, schemes, tmp_path / "quantised", silent))


def _require_the_same_tokens(directory: Path, checkpoint: QuantizedCheckpoint) -> None:
    order = lowering_order(checkpoint, directory, stop_tokens=(STOP,))
    write_word_tokenizer(directory / "tokenizer.json")
    (artifact,) = LiteRtLowering(frozenset({"litertlm"})).lower(order, directory, silent)
    bundle = directory / artifact.path
    prompts = [[BOS, *some_tokens(length).tolist()] for length in LENGTHS]
    expected = greedy_tokens(bundle, prompts, COUNT)
    assert len({token for tokens in expected for token in tokens}) > len(LENGTHS)
    texts = [" ".join(_words(prompt[1:])) for prompt in prompts]
    said = engine_pieces(bundle, texts, COUNT, directory)
    assert [[piece.strip() for piece in pieces] for pieces in said] == [
        _words(_until_stop(tokens)) for tokens in expected
    ]


def _words(tokens: list[int]) -> list[str]:
    return [f"w{token}" for token in tokens]


def _until_stop(tokens: list[int]) -> list[int]:
    return tokens[: tokens.index(STOP)] if STOP in tokens else tokens
