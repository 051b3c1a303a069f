"""`gemma-export --target web` on a tiny model: opened by three engines before release, by its card after.

Not about other families: tests/parity/test_web_pipeline.py.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from exporter.formats.web_paths import PACKAGES_VARIABLE
from exporter.packaging.release import files_below
from tests.checkpoints import write_huggingface
from tests.web_engines import PACKAGES, require, write_npm

ENGINES = ("onnx-web-node", "onnx-web-wasm", "onnx-web-webgpu")


def export(out: Path, packages: Path) -> subprocess.CompletedProcess[str]:
    model = write_huggingface(out.parent / "model")
    shape = ("--target", "web", "--context", "48", "--validation-tokens", "32", "--force")
    command = [sys.executable, "-m", "exporter.cli", "--model", str(model), *shape, "-o", str(out)]
    environment = {**os.environ, PACKAGES_VARIABLE: str(packages)}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for engine in ("node", "wasm", "webgpu"):
        require(engine)
    out = tmp_path_factory.mktemp("web") / "release"
    done = export(out, PACKAGES)
    assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-2000:]}"
    return out


def test_every_engine_has_opened_it_before_it_was_released(release: Path) -> None:
    report = json.loads((release / "report.json").read_text())
    executed = {run["path"]: run["result"] for run in report["paths"]}
    assert tuple(executed) == ENGINES
    for result in executed.values():
        assert result["runtime"] == "transformers.js"
    assert executed["onnx-web-webgpu"]["left_over"] == []
    gates = [gate for gate in report["gates"] if gate["kind"] == "path"]
    assert len(gates) == 7  # finite and near for each, and one adapter that took everything


def test_the_snippet_of_the_card_runs(release: Path, tmp_path: Path) -> None:
    """As it stands, by a shell; in npm's place stands what links the packages that the lock file pins."""
    here = shutil.copytree(release, tmp_path / "downloaded")
    snippets = re.findall(r"```sh\n(.*?)```", (here / "README.md").read_text(), re.DOTALL)
    (snippet,) = (each for each in snippets if "npm" in each)
    npm = write_npm(tmp_path / "bin", PACKAGES)
    path = f"{npm.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-e", "-c", snippet],
        cwd=here,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "The capital of France is" in done.stdout
    assert files_below(here) == files_below(release), "a release stays as it was sealed"


def test_without_the_packages_it_is_said_that_no_browser_took_part(tmp_path: Path) -> None:
    done = export(tmp_path / "release", tmp_path)
    assert done.returncode == 0, done.stdout[-4000:]
    report = json.loads((tmp_path / "release" / "report.json").read_text())
    assert len(report["paths"]) == len(ENGINES)
    for run in report["paths"]:
        assert "npm ci --ignore-scripts" in run["result"]["reason"]
        assert "took part" in run["says_nothing_of"]
