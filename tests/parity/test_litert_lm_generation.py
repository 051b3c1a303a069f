"""LiteRT-LM, the engine users run, against our driver: greedy tokens of the sample's bundle.

Matrix: the real 270M's .litertlm x {engine's Python API, `litert-lm run`}. The sample is a base model
without chat template, so the prompt is given plain. Not asserted: sampling, templates, other backends.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from runtimes.litert.session import LiteRtSession

PROMPT = "The capital of France is"
BOS, COUNT = 2, 24

pytestmark = pytest.mark.sample


def greedy_tokens(bundle: Path, prompt: list[int], count: int) -> list[int]:
    """The driver's most likely tokens, one after the other."""
    with LiteRtSession.open(bundle) as session:
        session.prefill(np.array(prompt[:-1], np.int32))
        tokens = [prompt[-1]]
        for _ in range(count):
            tokens.append(int(session.decode(tokens[-1]).argmax()))
    return tokens[1:]


def engine_pieces(bundle: Path, prompt: str, count: int, cache: Path) -> list[str]:
    """The engine's greedy continuation, a piece of text per token."""
    import litert_lm

    litert_lm.set_min_log_severity(litert_lm.LogSeverity.FATAL)
    with litert_lm.Engine(
        str(bundle), backend=litert_lm.Backend.CPU(thread_count=2), cache_dir=str(cache)
    ) as engine:
        greedy = litert_lm.SamplerConfig(top_k=1, temperature=0.0)
        with engine.create_session(
            apply_prompt_template=False, sampler_config=greedy, max_output_tokens=count
        ) as session:
            session.run_prefill([prompt])
            return [piece for response in session.run_decode_async() for piece in response.texts]


@pytest.fixture(scope="module")
def bundle(sample_release: Path) -> Path:
    return sample_release / "model.litertlm"


@pytest.fixture(scope="module")
def expected(sample_release: Path, bundle: Path) -> list[str]:
    """What our driver continues with, a piece per token."""
    tokenizer = Tokenizer.from_file(str(sample_release / "tokenizer.json"))
    prompt = [BOS, *tokenizer.encode(PROMPT, add_special_tokens=False).ids]
    return [tokenizer.decode([token]) for token in greedy_tokens(bundle, prompt, COUNT)]


def test_the_engine_continues_with_the_same_tokens(
    bundle: Path, expected: list[str], tmp_path: Path
) -> None:
    assert engine_pieces(bundle, PROMPT, COUNT, tmp_path) == expected


def test_the_command_continues_with_the_same_text(bundle: Path, expected: list[str]) -> None:
    command = [sys.executable, "-m", "litert_lm_cli.main", "run", str(bundle), "--prompt", PROMPT]
    # --cache no: its default leaves a file beside the model, in the release.
    greedy = ["--no-template", "--top-k", "1", "--temperature", "0", "--cache", "no"]
    # The command bounds prompt and answer together; the prompt is shorter than 16.
    bound = ["--max-num-tokens", str(COUNT + 16)]
    done = subprocess.run([*command, *greedy, *bound], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("".join(expected))
