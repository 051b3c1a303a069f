"""JSON and TOML that somebody else wrote are read in one place each, with its limits."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from benchmarks.structure import PACKAGES, ROOT

PARSERS = {("json", "load"), ("json", "loads"), ("tomllib", "load"), ("tomllib", "loads")}
# Where a parser may be called, and why.
ALLOWED = {
    "runtimes/strict_json.py": "the one reader of JSON",
    "exporter/planning/strict_toml.py": "the one reader of TOML",
    "exporter/models/key_lines.py": "single keys of a text that the reader has read before",
    "exporter/models/published.py": "a table of ours, which ships with the package",
}


def calls(source: str) -> list[int]:
    """Lines that parse JSON or TOML by the standard library's own functions."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and (node.value.id, node.attr) in PARSERS
    ]


def test_no_other_module_parses_json_or_toml() -> None:
    found = {
        f"{path.relative_to(ROOT)}:{line}"
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if path.relative_to(ROOT).as_posix() not in ALLOWED
        for line in calls(path.read_text(encoding="utf-8"))
    }
    assert found == set(), "use runtimes.strict_json or exporter.planning.strict_toml"


@pytest.mark.parametrize("name", ALLOWED)
def test_what_is_allowed_is_used(name: str) -> None:
    assert calls(Path(ROOT / name).read_text(encoding="utf-8"))


def test_a_call_is_found() -> None:
    assert calls("import json\nx = json.loads('1')\n") == [2]
