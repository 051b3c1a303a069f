"""Which components there are is said by types: mypy refuses one that does not exist, and a decision that
forgets one that does.

Not about what any component holds (tests/unit).
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

LOOKED_UP = """
from exporter.models.components import Components
def spec(components: Components) -> object: return components["{name}"].spec
"""
DECIDED = """
from typing import assert_never
from runtimes.manifest import ComponentName
def decide(name: ComponentName) -> int:
    match name:
        case "{name}":
            return 1
        case "{other}":
            return 2
        case "{last}":
            return 3
        case _:
            assert_never(name)
"""


Checked = Callable[[str], tuple[int, str]]


@pytest.fixture
def checked(tmp_path: Path, pytestconfig: pytest.Config) -> Checked:
    """mypy's exit code and words for a module of this code, under the project's own settings."""

    def check(code: str) -> tuple[int, str]:
        (tmp_path / "snippet.py").write_text(code, encoding="utf-8")
        command = [sys.executable, "-m", "mypy", str(tmp_path / "snippet.py")]
        root = pytestconfig.rootpath
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout

    return check


@pytest.mark.parametrize("code", [LOOKED_UP, DECIDED], ids=["looked_up", "decided"])
def test_what_there_is_passes_the_type_checker(code: str, checked: Checked) -> None:
    found = checked(code.format(name="text", other="vision", last="audio"))
    assert found == (0, "Success: no issues found in 1 source file\n")


def test_asking_for_another_component_is_a_type_error(checked: Checked) -> None:
    code, said = checked(LOOKED_UP.format(name="video"))
    assert code == 1
    assert 'snippet.py:3: error: No overload variant of "__getitem__" of "Parts"' in said
    assert said.endswith("Found 1 error in 1 file (checked 1 source file)\n")


def test_a_decision_that_forgets_one_is_a_type_error(checked: Checked) -> None:
    code, said = checked(DECIDED.format(name="vision", other="audio", last="video"))
    assert code == 1
    assert 'Argument 1 to "assert_never" has incompatible type "Literal[\'text\']"' in said
