"""What a release's own README.md says of running it, run as it stands.

Matrix: {base model (the real 270M), instruct model (tiny, with the 270M's vocabulary and a template)} x
{onnxruntime-genai's Python, LiteRT-LM's command}. Asserted: the right first tokens behind the right prompt,
which begins with <bos> once; that running it leaves nothing in the release. Not run: the lines for Swift,
which need a Mac, and `pip install`; those for transformers.js: tests/end_to_end/test_web_export.py.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from tokenizers import Tokenizer

from exporter.checkpoints.open import open_checkpoint
from exporter.cli import main
from exporter.packaging.release import files_below
from tests.checkpoints import write_huggingface
from tests.parity.genai_generation import driver_tokens
from tests.parity.litert_lm_engine import greedy_tokens
from tests.tiny import tiny_gemma3

TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<start_of_turn>{{ message['role'] }}\n"
    "{{ message['content'] | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
BASE = "<bos>The capital of France is"
ASKED = "<bos><start_of_turn>user\nWhat is the capital of France?<end_of_turn>\n<start_of_turn>model\n"

pytestmark = pytest.mark.sample


def snippet(release: Path, language: str, package: str) -> str:
    """The one piece of this language that the card says runs something with a package."""
    card = (release / "README.md").read_text(encoding="utf-8")
    (found,) = (
        each for each in re.findall(rf"```{language}\n(.*?)```", card, re.DOTALL) if package in each
    )
    return str(found)


@pytest.fixture(scope="module")
def instruct_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("instruct")
    checkpoint = write_huggingface(place / "checkpoint", {**tiny_gemma3(), "vocab_size": 262144})
    open_checkpoint(None, None).write_tokenizer(checkpoint)
    config = json.loads((checkpoint / "tokenizer_config.json").read_text(encoding="utf-8"))
    written = json.dumps({**config, "chat_template": TEMPLATE})
    (checkpoint / "tokenizer_config.json").write_text(written, encoding="utf-8")
    formats = ["--format", "onnx", "--format", "litertlm", "--recipe", "float", "--context", "128"]
    command = ["--target", "desktop", "--model", str(checkpoint), *formats, "-o", str(place / "release")]
    result = CliRunner().invoke(main, [*command, "--validation-tokens", "40"])
    # Of 262,144 random logits the first two can be as good as equal, and half precision swaps them.
    assert result.exit_code in (0, 1), result.output
    return place / ("release" if result.exit_code == 0 else "release.failed")


@pytest.fixture(params=["base", "instruct"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def release(kind: str, request: pytest.FixtureRequest) -> Path:
    return Path(request.getfixturevalue("sample_release" if kind == "base" else "instruct_release"))


@pytest.fixture
def prompt(kind: str, release: Path) -> list[int]:
    """The tokens of what transformers renders, <bos> once."""
    tokenizer = Tokenizer.from_file(str(release / "tokenizer.json"))
    tokens = tokenizer.encode(BASE if kind == "base" else ASKED, add_special_tokens=False).ids
    assert tokens.count(2) == 1
    return list(tokens)


def test_genais_lines_continue_as_our_driver_does(release: Path, prompt: list[int]) -> None:
    import onnxruntime_genai as genai

    before = files_below(release)
    command = [sys.executable, "-c", snippet(release, "python", "onnxruntime_genai")]
    done = subprocess.run(command, cwd=release, capture_output=True, text=True, check=True)
    tokens = [*prompt, *driver_tokens(release / "onnx" / "model.onnx", prompt, 64 - len(prompt))]
    if any(token in (1, 106) for token in tokens[len(prompt) :]):  # it stops there, and we do not
        tokens = tokens[: next(i for i in range(len(prompt), 64) if tokens[i] in (1, 106)) + 1]
    assert done.stdout == genai.Tokenizer(genai.Model(str(release / "onnx"))).decode(tokens) + "\n"
    assert files_below(release) == before


def test_litert_lms_command_continues_as_our_driver_does(
    kind: str, release: Path, prompt: list[int]
) -> None:
    before = files_below(release)
    install, command = snippet(release, "sh", "litert-lm").splitlines()
    assert install == "pip install litert-lm"
    assert ("--no-template" in command) == (kind == "base")
    tokenizer = Tokenizer.from_file(str(release / "tokenizer.json"))
    (tokens,) = greedy_tokens(release / "model.litertlm", [prompt], 12)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with subprocess.Popen(
        shlex.split(command),
        cwd=release,
        env={**os.environ, "PATH": path},
        stdout=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None
        said = running.stdout.read(len(tokenizer.decode(tokens[:10])))
        running.kill()  # a base model goes on until its context ends
    assert said.strip() == tokenizer.decode(tokens)[: len(said)].strip()
    assert files_below(release) == before
