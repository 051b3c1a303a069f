"""What a release's own README.md says of running it, run as it stands.

Matrix: {base model, instruction-tuned model (both tiny, with the 270M's vocabulary), the real 270M (a base
model)} x every piece of code in the card. Asserted: no piece is left out; the right first tokens behind the
right prompt, which begins with <bos> once; that a turn's end stops it; that running it leaves nothing in
the release. Not run: lines for Swift, which need a Mac; `pip install` and npm's, in whose place stands what
is installed.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner
from tokenizers import Tokenizer

from exporter.checkpoints.open import open_checkpoint
from exporter.cli import main
from exporter.packaging.release import files_below
from runtimes.manifest import read_manifest
from tests.answering import make_answer
from tests.checkpoints import write_source
from tests.parity.genai_generation import driver_tokens
from tests.parity.litert_lm_engine import greedy_tokens
from tests.tiny import RandomSource, tiny_gemma3
from tests.web_engines import PACKAGES, require, write_npm

# The prompt holds no end of a turn, so that what stops the tiny model is what it says itself.
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}<start_of_turn>user\n"
    "{{ message['content'] | trim }}\n{% else %}<start_of_turn>model\n"
    "{{ message['content'] | trim }}<end_of_turn>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
BASE = "<bos>The capital of France is"
ASKED = "<bos><start_of_turn>user\nWhat is the capital of France?\n<start_of_turn>model\n"
ROOT = str(Path(__file__).parents[2])
BOS, END_OF_TURN = 2, 106
FORMATS = ("tflite", "litertlm", "onnx", "onnx-web", "coreml")
SEEDS = {"base": 5, "instruct": 3}  # whose answers are clear: tests.answering
FIRST = 8  # tokens of a base model that are compared: it goes on for ever
PIECE = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Released:
    """A release, what it is asked, and what it answers with first."""

    directory: Path
    chat: bool
    prompt: list[int]
    answer: list[int]

    @property
    def tokenizer(self) -> Tokenizer:
        return Tokenizer.from_file(str(self.directory / "tokenizer.json"))

    def piece(self, language: str, package: str) -> str:
        """The one piece of this language that the card says runs something with a package."""
        (found,) = (text for kind, text in self.pieces() if kind == language and package in text)
        return found

    def pieces(self) -> list[tuple[str, str]]:
        return PIECE.findall((self.directory / "README.md").read_text(encoding="utf-8"))


def tiny_release(kind: str, place: Path) -> Released:
    checkpoint, chat = place / "checkpoint", kind == "instruct"
    source = RandomSource({**tiny_gemma3(), "vocab_size": 262144}, seed=SEEDS[kind])
    open_checkpoint(None, None).write_tokenizer(place)
    tokenizer = Tokenizer.from_file(str(place / "tokenizer.json"))
    prompt = tokenizer.encode(ASKED if chat else BASE, add_special_tokens=False).ids
    assert prompt.count(BOS) == 1
    answer = make_answer(source, prompt, 5 if chat else FIRST, END_OF_TURN if chat else None)
    write_source(checkpoint, source)
    open_checkpoint(None, None).write_tokenizer(checkpoint)
    if chat:
        (checkpoint / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    formats = [word for each in FORMATS for word in ("--format", each)]
    command = ["--target", "desktop", "--model", str(checkpoint), *formats, "-o", str(place / "release")]
    told = ["--recipe", "float", "--context", "128", "--validation-tokens", "40", "--no-accelerators"]
    result = CliRunner().invoke(main, [*command, *told])
    # Random weights are not what the limits of half precision were measured on.
    assert result.exit_code in (0, 1), result.output
    directory = place / ("release" if result.exit_code == 0 else "release.failed")
    return Released(directory, chat, list(prompt), answer)


@pytest.fixture(scope="module", params=["base", "instruct", pytest.param("270M", marks=pytest.mark.sample)])
def released(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Released:
    if request.param != "270M":
        return tiny_release(request.param, tmp_path_factory.mktemp(request.param))
    directory = Path(request.getfixturevalue("sample_release"))
    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    prompt = list(tokenizer.encode(BASE, add_special_tokens=False).ids)
    (bundle,) = (each for each in read_manifest(directory).artifacts if each.format == "litertlm")
    (answer,) = greedy_tokens(directory / bundle.path, [prompt], FIRST)
    return Released(directory, False, prompt, answer)


def run(released: Released, command: list[str], **environment: str) -> str:
    """What it prints. Nothing of it stays in the release."""
    before = files_below(released.directory)
    done = subprocess.run(
        command,
        cwd=released.directory,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert files_below(released.directory) == before
    return done.stdout


def test_every_piece_of_code_is_known_here(released: Released) -> None:
    known = {("python", "onnxruntime_genai"), ("python", "ai_edge_litert"), ("sh", "litert-lm run")}
    known |= {("sh", "node ../ask/ask.mjs"), ("swift", "import CoreML"), ("sh", "gemma-export run")}
    formats = {each.format for each in read_manifest(released.directory).artifacts}
    pieces = released.pieces()
    for language, text in pieces:
        assert sum(language == kind and package in text for kind, package in known) == 1, text
    assert len(pieces) == len(formats) + 1, "one each, and our own command for all of them"


def test_a_base_model_says_so_and_is_asked_nothing(released: Released) -> None:
    card = (released.directory / "README.md").read_text(encoding="utf-8")
    assert ("This is a base model" in card) != released.chat
    if not released.chat:
        assert not re.search(r"apply_chat_template|applyChatTemplate|What is the capital", card)
    assert (released.directory / "model_allowlist.json").exists() == released.chat


def test_our_own_command_says_what_our_driver_says(released: Released, tmp_path: Path) -> None:
    command = tmp_path / "gemma-export"
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m exporter.cli "$@"\n')
    command.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    said = run(released, shlex.split(released.piece("sh", "gemma-export run")), PATH=path, PYTHONPATH=ROOT)
    if released.chat:
        assert said.strip() == released.tokenizer.decode(released.answer[:-1]).strip()
    else:
        assert said.startswith(released.tokenizer.decode(released.answer))


def test_genais_lines_say_what_our_driver_says(released: Released) -> None:
    import onnxruntime_genai as genai

    said = run(released, [sys.executable, "-c", released.piece("python", "onnxruntime_genai")])
    graph = released.directory / "onnx" / "model.onnx"
    tokens = driver_tokens(graph, released.prompt, len(released.answer))
    decode = genai.Tokenizer(genai.Model(str(graph.parent))).decode
    if released.chat:
        assert tokens == released.answer
        assert said == decode([*released.prompt, *tokens]) + "\n", "and nothing behind the turn's end"
    else:
        assert said.startswith(decode([*released.prompt, *tokens]))


def test_litert_lms_command_says_what_our_driver_says(released: Released) -> None:
    install, command = released.piece("sh", "litert-lm run").splitlines()
    assert install == "pip install litert-lm"
    assert ("--no-template" in command) != released.chat
    (tokens,) = greedy_tokens(
        released.directory / "model.litertlm", [released.prompt], len(released.answer)
    )
    assert tokens == released.answer
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    if released.chat:
        said = run(released, shlex.split(command), PATH=path)
        assert said.strip() == released.tokenizer.decode(tokens[:-1]).strip()
        return
    with subprocess.Popen(
        shlex.split(command),
        cwd=released.directory,
        env={**os.environ, "PATH": path},
        stdout=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None
        wanted = released.tokenizer.decode(tokens)
        said = running.stdout.read(len(wanted))
        running.kill()  # it goes on until its context ends
    assert said.strip() == wanted[: len(said)].strip()


def test_transformers_js_lines_say_what_our_driver_says(released: Released, tmp_path: Path) -> None:
    require("node")
    npm = write_npm(tmp_path / "bin", PACKAGES)
    piece = released.piece("sh", "node ../ask/ask.mjs")
    path = f"{npm.parent}{os.pathsep}{os.environ['PATH']}"
    said = run(released, ["sh", "-e", "-c", piece], PATH=path)
    if released.chat:
        assert said.strip() == released.tokenizer.decode(released.answer[:-1]).strip()
    else:
        manifest = read_manifest(released.directory)
        (graph,) = (each.path for each in manifest.artifacts if each.format == "onnx-web")
        tokens = driver_tokens(released.directory / graph, released.prompt, len(released.answer))
        assert said.startswith(released.tokenizer.decode([*released.prompt[1:], *tokens]).rstrip())


def test_lines_for_the_bare_graph_name_its_signatures(released: Released) -> None:
    if not (released.directory / "model.tflite").exists():
        assert "ai_edge_litert" not in (released.directory / "README.md").read_text(encoding="utf-8")
        return
    said = run(released, [sys.executable, "-c", released.piece("python", "ai_edge_litert")])
    (graph,) = (each for each in read_manifest(released.directory).artifacts if each.format == "tflite")
    assert {f"prefill_{graph.prefill_chunk}", "decode"} <= set(re.findall(r"'(\w+)'", said))


def test_the_checksums_are_checked_as_the_card_says(released: Released) -> None:
    assert "sha256sum -c SHA256SUMS" in (released.directory / "README.md").read_text(encoding="utf-8")
    run(released, ["sha256sum", "--quiet", "-c", "SHA256SUMS"])


def test_the_gallerys_entry_names_the_bundle_as_it_lies_there(released: Released) -> None:
    if released.chat:
        text = (released.directory / "model_allowlist.json").read_text(encoding="utf-8")
        (entry,) = json.loads(text)["models"]
        bundle = released.directory / entry["modelFile"]
        assert entry["sizeInBytes"] == bundle.stat().st_size
