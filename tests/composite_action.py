"""A composite action of GitHub's run from its own YAML: every `run` step in its shell, with the environment
a runner gives it; conditions, outputs and expressions as documented; `uses` steps by stand-ins of a test's.

As much of https://docs.github.com/actions (metadata syntax, contexts, expressions) as samples/ci/action.yml
needs: anything else raises. Not a runner: no `pre`, no `post`, no matrix, one job.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

Outcome = Literal["success", "failure", "skipped"]
Given = Mapping[str, str]
StandIn = Callable[[Given], Mapping[str, str]]
"""What is given `with`, and gives outputs."""

EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")
SHELLS = {"sh": ("sh", "-e"), "bash": ("bash", "--noprofile", "--norc", "-eo", "pipefail")}
WHATEVER_HAPPENED = ("!cancelled()", "always()")


@dataclass
class ActionRun:
    """outcomes: of each step, by its name or what it uses. said: what all steps printed."""

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    summary: str = ""
    said: str = ""


class Runner:
    """Runs the action in `place`, a job's workspace. uses: stand-ins by the action's name without version.
    environment: of the job, with PATH."""

    def __init__(
        self, action: Path, place: Path, uses: Mapping[str, StandIn], environment: Mapping[str, str]
    ) -> None:
        self._action: dict[str, Any] = yaml.safe_load(action.read_text(encoding="utf-8"))
        self._directory, self._place, self._uses = action.parent, place, uses
        self._environment = {**environment, "GITHUB_ACTIONS": "true", "GITHUB_WORKSPACE": str(place)}
        self._known: dict[str, str] = {"github.action_path": str(self._directory)}

    def run(self, **inputs: str) -> ActionRun:
        """inputs: with underscores for hyphens."""
        given = {name.replace("_", "-"): value for name, value in inputs.items()}
        assert given.keys() <= self._action["inputs"].keys()
        for name, entry in self._action["inputs"].items():
            self._known[f"inputs.{name}"] = given.get(name, entry.get("default", ""))
        found, failed = ActionRun(), False
        for number, step in enumerate(self._action["runs"]["steps"]):
            name = step.get("name", step.get("uses", f"step {number}"))
            if not self._wanted(step.get("if"), failed):
                found.outcomes[name] = "skipped"
                continue
            outcome, outputs = self._step(step, number, found)
            for key, value in outputs.items():
                self._known[f"steps.{step.get('id')}.outputs.{key}"] = value
            found.outcomes[name] = outcome
            failed = failed or outcome == "failure"
        found.outputs = {key: self._text(each["value"]) for key, each in self._action["outputs"].items()}
        return found

    def _wanted(self, condition: str | None, failed: bool) -> bool:
        """A condition without a status function holds only where nothing failed before."""
        if condition is None:
            return not failed
        expression = (EXPRESSION.fullmatch(condition) or re.fullmatch("(.*)", condition))[1]  # type: ignore[index]  # the latter matches
        if expression in WHATEVER_HAPPENED:
            return True
        return not failed and self._value(expression) not in ("", "false")

    def _step(
        self, step: Mapping[str, Any], number: int, found: ActionRun
    ) -> tuple[Outcome, Mapping[str, str]]:
        if "uses" in step:
            given = {key: self._text(value) for key, value in step.get("with", {}).items()}
            return "success", self._uses[step["uses"].partition("@")[0]](given)
        # Beside the workspace, as a runner's are in its temporary directory.
        script, output, summary = (
            self._place.with_name(f"{self._place.name}-{number}-{each}")
            for each in ("script", "output", "summary")
        )
        script.write_text(self._text(step["run"]), encoding="utf-8")
        output.touch()
        done = subprocess.run(
            [*SHELLS[step["shell"]], str(script)],
            cwd=self._place,
            env={
                **self._environment,
                **{key: self._text(value) for key, value in step.get("env", {}).items()},
                "GITHUB_ACTION_PATH": str(self._directory),
                "GITHUB_OUTPUT": str(output),
                "GITHUB_STEP_SUMMARY": str(summary),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        found.said += done.stdout + done.stderr
        found.summary += summary.read_text(encoding="utf-8") if summary.exists() else ""
        lines = output.read_text(encoding="utf-8").splitlines()
        outputs = dict(line.split("=", 1) for line in lines)
        return ("failure" if done.returncode else "success"), outputs

    def _text(self, value: object) -> str:
        return EXPRESSION.sub(lambda match: self._value(match[1]), str(value))

    def _value(self, expression: str) -> str:
        """Of `a || b`, `a != b`, a quoted word, or a name; unknown outputs are empty, as GitHub's are."""
        if "||" in expression:
            values = [self._value(each.strip()) for each in expression.split("||")]
            return next((each for each in values if each), "")
        if "!=" in expression:
            left, right = (self._value(each.strip()) for each in expression.split("!="))
            return str(left != right).lower()
        if quoted := re.fullmatch(r"'([^']*)'", expression):
            return quoted[1]
        if re.fullmatch(r"steps\.[\w-]+\.outputs\.[\w-]+", expression):
            return self._known.get(expression, "")
        return self._known[expression]


def with_commands(place: Path, commands: Mapping[str, str]) -> dict[str, str]:
    """An environment whose PATH begins with these shell scripts."""
    place.mkdir()
    for name, body in commands.items():
        path = place / name
        path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
        path.chmod(0o755)
    return {**os.environ, "PATH": f"{place}{os.pathsep}{os.environ['PATH']}"}
