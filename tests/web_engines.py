"""Engines of transformers.js for tests: what they compute of a release, a skip where they are not here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from exporter.resources import data_directory
from runtimes.onnx.session import OnnxSession
from runtimes.onnx.transformers_js import Engine, EngineRun, TokensTaken, missing_engine, take_tokens
from runtimes.session import Logits, Tokens
from tests.conftest import GIVEN_WEB_PACKAGES

PACKAGES = Path(GIVEN_WEB_PACKAGES) if GIVEN_WEB_PACKAGES else data_directory("tests/web")
NPM = """#!/bin/sh -e
test "$*" = "install --prefix ../ask --ignore-scripts @huggingface/transformers@4"
mkdir -p ../ask
ln -sfn "{modules}" ../ask/node_modules
"""
SECONDS = 900  # much, for a machine that does other things too


def require(engine: Engine) -> None:
    """Skip where it is missing; in CI that fails."""
    if (reason := missing_engine(engine, PACKAGES)) is not None:
        pytest.skip(reason)


def taken_by(engine: Engine, release: Path, tokens: Tokens, prefilled: int, scratch: Path) -> TokensTaken:
    require(engine)
    return take_tokens(engine_run(engine, release, scratch), tokens, prefilled)


def engine_run(engine: Engine, release: Path, scratch: Path) -> EngineRun:
    return EngineRun(engine, release, PACKAGES, scratch, seconds=SECONDS)


def driver_logits(graph: Path, tokens: Tokens, prefilled: int) -> Logits:
    """Our driver's, of the tokens after the prefilled ones."""
    with OnnxSession(graph, threads=2) as session:
        session.prefill(tokens[:prefilled])
        return np.stack([session.decode(int(token)) for token in tokens[prefilled:]])


def write_npm(directory: Path, packages: Path) -> Path:
    """What stands in npm's place where a card says to install: it links the packages of the lock file."""
    directory.mkdir()
    npm = directory / "npm"
    npm.write_text(NPM.format(modules=packages.resolve() / "node_modules"), encoding="utf-8")
    npm.chmod(0o755)
    return npm
