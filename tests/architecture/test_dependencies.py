"""What pyproject.toml asks for is what the packages import, and the other way round.

Not about versions, or about what tests and tools need (the `dev` extra).
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache

import pytest

from benchmarks.structure import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NOT_IMPORTED = ("dev", "sample")  # tests and tools; a model's data, found by its package's name
IMPORTED_AS = {
    "pillow": "PIL",
    "protobuf": "google.protobuf",
    "pyyaml": "yaml",
}  # the others as they are called
PACKAGES = ("exporter", "runtimes")


def imports(source: str) -> Iterator[str]:
    """Modules a text imports, at its top or anywhere inside."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def imported() -> frozenset[str]:
    files = (path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    return frozenset(name for path in files for name in imports(path.read_text(encoding="utf-8")))


def asked_for() -> set[str]:
    """Packages of the base install and of every extra that brings code to run."""
    extras = PROJECT["optional-dependencies"]
    shipped = [each for name, extra in extras.items() if name not in NOT_IMPORTED for each in extra]
    return {re.split(r"[\[<>=!~; ]", each)[0] for each in (*PROJECT["dependencies"], *shipped)}


def module(package: str) -> str:
    return IMPORTED_AS.get(package, package.replace("-", "_"))


@pytest.mark.parametrize("package", sorted(asked_for()))
def test_every_dependency_is_imported(package: str) -> None:
    name = module(package)
    assert any(each == name or each.startswith(f"{name}.") for each in imported()), (
        f"nothing in exporter/ or runtimes/ imports {name}: drop {package} from pyproject.toml"
    )


def test_everything_imported_is_asked_for() -> None:
    known = {module(package).split(".")[0] for package in asked_for()} | set(PACKAGES)
    used = {name.split(".")[0] for name in imported()} - set(sys.stdlib_module_names)
    assert used <= known


def test_an_import_is_found_wherever_it_hides() -> None:
    source = "def f():\n    if True:\n        from google.protobuf import text_format\nimport a.b\n"
    assert set(imports(source)) == {"google.protobuf", "google.protobuf.text_format", "a.b"}
