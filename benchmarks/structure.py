"""The house in figures: its longest files, functions and argument lists, and which room imports which.

    python -m benchmarks.structure

Over `exporter` and `runtimes`; exits with 1 where a limit is broken. Lines of a function count from `def`
on. `self` and `cls` are not arguments, nor are a dataclass's fields. The order of rooms is read from the
contract import-linter checks (pyproject.toml). Not about what a module should be for: CONTRIBUTING.md.
"""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import grimp

PACKAGES = ("exporter", "runtimes")
SHOWN = 5
ROOT = Path(__file__).parents[1]

Kind = Literal["file", "function", "arguments"]
LIMITS: dict[Kind, int] = {"file": 350, "function": 60, "arguments": 6}
UNITS: dict[Kind, str] = {"file": "lines", "function": "lines", "arguments": "arguments"}


@dataclass(frozen=True)
class Measured:
    """The size of one thing. name: a path, and behind a colon a function of that file."""

    kind: Kind
    name: str
    size: int

    @property
    def too_large(self) -> bool:
        return self.size > LIMITS[self.kind]


def measure(root: Path) -> list[Measured]:
    """Every file, function and argument list of the packages under a directory, the largest first."""
    found = []
    for path in sorted(path for package in PACKAGES for path in (root / package).rglob("*.py")):
        source, name = path.read_text(encoding="utf-8"), path.relative_to(root).as_posix()
        found.append(Measured("file", name, len(source.splitlines())))
        found += _functions(ast.parse(source), f"{name}:")
    return sorted(found, key=lambda each: (-each.size, each.name))


def _functions(parent: ast.AST, prefix: str) -> Iterator[Measured]:
    for node in ast.iter_child_nodes(parent):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            name = prefix + node.name
            yield Measured("function", name, (node.end_lineno or node.lineno) - node.lineno + 1)
            yield Measured("arguments", name, _arguments(node.args))
            yield from _functions(node, f"{name}.")
        else:
            inner = f"{prefix}{node.name}." if isinstance(node, ast.ClassDef) else prefix
            yield from _functions(node, inner)


def _arguments(arguments: ast.arguments) -> int:
    named = [each.arg for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    gathered = [each for each in (arguments.vararg, arguments.kwarg) if each is not None]
    return len(named) - (named[:1] in (["self"], ["cls"])) + len(gathered)


def layers() -> list[list[str]]:
    """Rooms of `exporter` from the top down; those on one line do not import each other."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = (
        each for each in settings["tool"]["importlinter"]["contracts"] if each["type"] == "layers"
    )
    return [line.split(" | ") for line in contract["layers"]]


def import_picture() -> str:
    """What each room imports, as text, the rooms of each package from the top down."""
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    rooms = [f"exporter.{name}" for line in layers() for name in line]
    lines = ["exporter, from the top down; → what a room imports below it, and what of runtimes"]
    lines += _arrows(graph, rooms)
    lines += ["", "runtimes; → what a room imports beside it"]
    lines += _arrows(graph, sorted(graph.find_children("runtimes")))
    return "\n".join(lines)


def _arrows(graph: grimp.ImportGraph, rooms: list[str]) -> list[str]:
    """A line for each room. Of the room's own package the last name is enough."""
    width = max(len(_last(room)) for room in rooms)
    lines = []
    for room in rooms:
        inside = {room, *graph.find_descendants(room)}
        imported = {
            ".".join(module.split(".")[:2])
            for importer in inside
            for module in graph.find_modules_directly_imported_by(importer)
        } - {room, "exporter"}  # the package itself holds its version alone
        beside = [_last(other) for other in rooms if other in imported]
        others = sorted(imported - set(rooms))
        lines.append(f"  {_last(room):{width}} → {', '.join([*beside, *others]) or '(nothing)'}")
    return lines


def _last(module: str) -> str:
    return module.rpartition(".")[2]


def report(measured: Iterable[Measured]) -> Iterator[str]:
    """A few of the largest of each kind, and every one that breaks its limit."""
    every = list(measured)
    for kind, limit in LIMITS.items():
        largest = [each for each in every if each.kind == kind]
        yield f"{kind}: at most {limit} {UNITS[kind]}"
        for position, each in enumerate(largest):
            if position < SHOWN or each.too_large:
                yield f"  {each.size:4} {'TOO LARGE ' if each.too_large else ''}{each.name}"
        yield ""


def main() -> int:
    measured = measure(ROOT)
    print("\n".join(report(measured)))
    print(import_picture())
    return int(any(each.too_large for each in measured))


if __name__ == "__main__":
    sys.exit(main())
