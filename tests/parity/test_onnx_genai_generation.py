"""onnxruntime-genai, the engine users run, against our driver: greedy tokens of the sample's ONNX folder.

Matrix: the real 270M x {a short prompt, one longer than the window}. The sample is a base model without
chat template, so prompts are given plain, with the token that begins a text. Not asserted: sampling,
templates, other providers.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from tests.parity.genai_generation import driver_tokens, genai_tokens

PROMPT = "The capital of France is"
BOS, COUNT, WINDOW = 2, 24, 512

pytestmark = pytest.mark.sample


@pytest.fixture(scope="module")
def folder(sample_release: Path) -> Path:
    return sample_release / "onnx"


@pytest.fixture(scope="module")
def prompt(folder: Path) -> list[int]:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    return [BOS, *tokenizer.encode(PROMPT, add_special_tokens=False).ids]


def test_genai_continues_with_the_same_tokens(folder: Path, prompt: list[int]) -> None:
    found = genai_tokens(folder, prompt, len(prompt) + COUNT)
    assert len(found) == COUNT
    assert found == driver_tokens(folder / "model.onnx", prompt, COUNT)


def test_genai_continues_past_the_window_with_the_same_tokens(folder: Path, prompt: list[int]) -> None:
    repeated = (prompt[1:] * WINDOW)[: WINDOW + 40]
    found = genai_tokens(folder, [BOS, *repeated], WINDOW + 41 + COUNT)
    assert len(found) == COUNT
    assert found == driver_tokens(folder / "model.onnx", [BOS, *repeated], COUNT)


def test_genai_encodes_text_as_our_tokenizer_does(folder: Path, prompt: list[int]) -> None:
    import onnxruntime_genai as genai

    tokenizer = genai.Tokenizer(genai.Model(str(folder)))
    encoded = np.asarray(tokenizer.encode(PROMPT)).tolist()
    assert [BOS, *encoded][-len(prompt) :] == prompt
