"""The commands a developer runs: pre-commit checks what `make check` does, CI runs what README.md names,
and what they need is pinned.
"""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.structure import ROOT
from runtimes.arm64.root import PREPARE

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
HOOKS = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")


def recipe(target: str) -> list[str]:
    """The commands of a target, as a shell gets them where there are no variables but BIN."""
    (found,) = re.findall(rf"^{target}:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    return [line.strip().replace("$(BIN)", ".venv/bin") for line in found.splitlines()]


def made(*arguments: str) -> str:
    """The last command make would run."""
    command = ["make", "--dry-run", "--directory", str(ROOT), "--no-print-directory", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1]


def names(requirements: list[str]) -> Iterator[str]:
    """Package names of requirements, as indexes compare them."""
    for requirement in requirements:
        name = re.split(r"[\[<>=!~; ]", requirement.strip())[0]
        yield re.sub(r"[-_.]+", "-", name).lower()


def test_pre_commit_and_make_check_run_the_same_commands() -> None:
    entries = [line.partition("entry:")[2].strip() for line in HOOKS.splitlines() if "entry:" in line]
    assert entries == recipe("check")


def test_every_hook_is_the_whole_command_with_nothing_fetched() -> None:
    hooks = HOOKS.count("- id:")
    assert hooks == len(recipe("check"))
    for setting in ("language: system", "pass_filenames: false", "always_run: true"):
        assert HOOKS.count(setting) == hooks
    assert HOOKS.count("repo: ") == HOOKS.count("repo: local") == 1


def test_ci_runs_the_checks_and_then_every_test() -> None:
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert lines[-2:] == ["make check", "make test"]
    assert {"export CI=true", "export FUZZ_CASES=1000"} <= set(lines)
    assert "set -euo pipefail" in lines


def test_a_part_of_the_tests_is_whatever_pytest_takes() -> None:
    whole = ".venv/bin/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder "
    assert made("test") == whole
    assert made("test", "T=tests/unit -k 'gguf or hub'") == f"{whole}tests/unit -k 'gguf or hub'"


def test_ci_makes_the_arm64_root_that_tests_would_skip_without() -> None:
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    installed, prepared = "make .venv/installed", f".venv/bin/{PREPARE}"
    assert lines.index(installed) < lines.index(prepared) < lines.index("make test")


def test_quick_tests_are_all_directories_whose_tests_are_quick() -> None:
    asked = set(made("quick").partition("--numprocesses 2 ")[2].split())
    tests = (path.relative_to(ROOT) for path in (ROOT / "tests").rglob("test_*.py"))
    directories = {"/".join(path.parts[:2]) for path in tests}
    # Whole exports, other people's runtimes and thousands of damaged files take their time.
    assert directories - asked == {"tests/end_to_end", "tests/fuzz", "tests/parity"}
    assert asked <= directories


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", ".ci/run"])
def test_every_make_command_named_is_one(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    named = set(re.findall(r"(?:^|`|    )make ([a-z]+)", text, re.MULTILINE))
    assert named
    assert named <= set(re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE))


def test_everything_asked_for_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    wanted = set(names(project["dependencies"] + [each for extra in extras for each in extra]))
    lock = Path(ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pinned = [line for line in lock if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.+]+", line) for line in pinned)
    assert wanted <= set(names(pinned))
    assert "execnet" in names(pinned), "what pytest-xdist runs its workers with"
