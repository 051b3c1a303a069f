"""LiteRT-LM, the engine users run, against our driver: greedy tokens of the sample's bundle.

Matrix: the real 270M's .litertlm x {engine's Python API, `litert-lm run`}. The sample is a base model
without chat template, so the prompt is given plain. Not asserted: sampling, templates, other backends.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from tests.parity.litert_lm_engine import engine_pieces, greedy_tokens

PROMPT = "The capital of France is"
BOS, COUNT = 2, 24

pytestmark = pytest.mark.sample


@pytest.fixture(scope="module")
def bundle(sample_release: Path) -> Path:
    return sample_release / "model.litertlm"


@pytest.fixture(scope="module")
def expected(sample_release: Path, bundle: Path) -> list[str]:
    """What our driver continues with, a piece per token."""
    tokenizer = Tokenizer.from_file(str(sample_release / "tokenizer.json"))
    prompt = [BOS, *tokenizer.encode(PROMPT, add_special_tokens=False).ids]
    (tokens,) = greedy_tokens(bundle, [prompt], COUNT)
    return [tokenizer.decode([token]) for token in tokens]


def test_the_engine_continues_with_the_same_tokens(
    bundle: Path, expected: list[str], tmp_path: Path
) -> None:
    assert engine_pieces(bundle, [PROMPT], COUNT, tmp_path) == [expected]


def test_the_command_continues_with_the_same_text(bundle: Path, expected: list[str]) -> None:
    command = [sys.executable, "-m", "litert_lm_cli.main", "run", str(bundle), "--prompt", PROMPT]
    # --cache no: its default leaves a file beside the model, in the release.
    greedy = ["--no-template", "--top-k", "1", "--temperature", "0", "--cache", "no"]
    # The command bounds prompt and answer together; the prompt is shorter than 16.
    bound = ["--max-num-tokens", str(COUNT + 16)]
    done = subprocess.run([*command, *greedy, *bound], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("".join(expected))
