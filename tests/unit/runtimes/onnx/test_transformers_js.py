"""What is said where transformers.js, Node or a browser is not there. Running them: tests/parity."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from runtimes.errors import BeyondAdapter, ExecutionFailed, RuntimeUnavailable
from runtimes.onnx.transformers_js import (
    BROWSERS,
    NO_FP16,
    EngineRun,
    missing_engine,
    run_script,
    take_tokens,
)


def put(directory: Path, name: str, prints: str) -> None:
    """A program of this name that prints something."""
    directory.mkdir(exist_ok=True)
    program = directory / name
    program.write_text(f"#!/bin/sh\necho '{prints}'\n", encoding="utf-8")
    program.chmod(0o755)


def install(packages: Path, *names: str) -> None:
    for name in names:
        place = packages / "node_modules" / name
        place.mkdir(parents=True)
        (place / "package.json").write_text("{}", encoding="utf-8")


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only directory on the PATH, with a Node.js in it."""
    directory = tmp_path / "bin"
    put(directory, "node", "v22.1.0")
    monkeypatch.setenv("PATH", str(directory))
    return directory


def test_a_machine_without_node_is_told_to_install_it(tmp_path: Path, programs: Path) -> None:
    (programs / "node").unlink()
    assert missing_engine("node", tmp_path) == "there is no node on the PATH; install Node.js 20 or later"


@pytest.mark.parametrize("prints", ["v18.19.1", "", "twenty"])
def test_another_node_is_not_enough(prints: str, tmp_path: Path, programs: Path) -> None:
    put(programs, "node", prints)
    assert missing_engine("node", tmp_path) == f"{programs}/node is not Node.js 20 or later; install that"


def test_packages_that_are_not_there_are_named_with_the_command(tmp_path: Path, programs: Path) -> None:
    said = f"is not there; run `npm ci --ignore-scripts` in {tmp_path}"
    assert missing_engine("node", tmp_path) == f"@huggingface/transformers {said}"
    install(tmp_path, "@huggingface/transformers")
    assert missing_engine("node", tmp_path) is None
    assert missing_engine("wasm", tmp_path) == f"puppeteer-core {said}"


@pytest.mark.parametrize("name", BROWSERS)
def test_any_chromium_will_do(name: str, tmp_path: Path, programs: Path) -> None:
    install(tmp_path, "@huggingface/transformers", "puppeteer-core")
    reason = missing_engine("webgpu", tmp_path)
    assert reason is not None
    assert "there is no Chromium on the PATH" in reason
    put(programs, name, "Chromium 156")
    assert missing_engine("webgpu", tmp_path) is None


@pytest.mark.parametrize(("says", "error"), [(NO_FP16, BeyondAdapter), ("no such file", ExecutionFailed)])
def test_an_adapter_without_fp16_is_the_machines_fault_and_no_other_failure_is(
    says: str, error: type[Exception], tmp_path: Path, programs: Path
) -> None:
    install(tmp_path, "@huggingface/transformers", "puppeteer-core")
    put(programs, "chromium", "Chromium 156")
    (programs / "node").write_text(
        f"#!/bin/sh\ntest \"$1\" = --version && echo v22.1.0 && exit\necho 'Error: {says}.'\nexit 1\n"
    )
    with pytest.raises(error):
        run_script(EngineRun("webgpu", tmp_path, tmp_path, tmp_path, seconds=5), {})


def test_nothing_is_started_where_something_is_missing_engine(tmp_path: Path, programs: Path) -> None:
    run = EngineRun("node", tmp_path, tmp_path, tmp_path, seconds=5)
    with pytest.raises(RuntimeUnavailable, match="npm ci"):
        take_tokens(run, np.arange(8, dtype=np.int32), 4)
