"""A word means one thing in the whole house: no two public classes, functions or type aliases of `exporter`
and `runtimes` share a name, nor do modules, except where they are the same thing in sibling packages.

Upper-case constants are left out: `ALIGNMENT` is each file format's own. So are methods and private names.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from benchmarks.structure import PACKAGES, ROOT

# Modules that share a name, and why that is right. All others have one of their own.
SAME_CONCEPT = {
    "audio_dialect": "a lowering's way to write what audio encoders call",
    "defaults": "numbers that transformers' classes fill in, of one component",
    "dialect": "a lowering's way to write what the decoder calls, and the protocol it satisfies",
    "eager": "a component in plain torch, by the dialect that proves it",
    "embedders": "of a .litertlm: written by the lowering, run by the driver",
    "errors": "the error tree of a package that stands alone",
    "families": "config.json of one component to its spec",
    "float_twin": "a lowering's float twin",
    "graphs": "the models of a .litertlm that one kind of tower comes to",
    "image_encoder": "the `ImageEncoder` of a runtime",
    "multimodal_session": "the `MultimodalSession` of a runtime",
    "interface": "the protocol of a package whose neighbours satisfy it",
    "lowering": "the `Lowering` of a runtime",
    "memory": "what a process will take, and what it takes",
    "model_file": "from a path to what a driver opens",
    "open": "the one place that tells by a path what it is",
    "package": "a .mlpackage: written by the lowering, read by the evaluator",
    "prepared": "what is made of a picture or a sound, and the protocol of what makes rows of it",
    "preparing": "from pixels or samples to what a tower takes",
    "processing": "what is done to a picture or a sound before a tower takes it",
    "read_back": "a lowering's reading of the bytes it wrote",
    "sections": "what a .litertlm holds for one kind of tower",
    "session": "the `Session` of a runtime, and its protocol",
    "sound_encoder": "the `SoundEncoder` of a runtime",
    "source": "the `CheckpointSource` of a format",
    "spec": "every number of a component",
    "tower_dialect": "what a lowering's ways to write towers have in common",
    "tower_encoder": "what a runtime's drivers of towers have in common",
    "tower_twin": "the float twin of a lowering's tower",
    "table": "the explicit table of a package",
    "vision_dialect": "a lowering's way to write what image towers call",
}

# Functions of which every room of a kind has one, and which table calls them.
ONE_A_ROOM = {
    "make_lowering": "a runtime's lowering (`exporter.lowering.table`)",
    "open_artifact": "a runtime's driver (`runtimes.open`)",
    "open_image_encoder": "a runtime's driver of towers, and the one place that knows which",
    "open_sound_encoder": "a runtime's driver of audio encoders, and that place",
    "open_multimodal_session": "a runtime's driver of decoders that take rows, and that place",
}


def definitions(path: Path) -> Iterator[str]:
    """Public classes, functions and type aliases of a module, constants left out."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                found = [name]
            case ast.Assign(targets=targets):
                found = [target.id for target in targets if isinstance(target, ast.Name)]
            case ast.AnnAssign(target=ast.Name(id=name)):
                found = [name]
            case _:
                found = []
        yield from (name for name in found if not name.startswith("_") and not name.isupper())


def twins(root: Path) -> dict[str, list[str]]:
    """Names defined in more than one module, with the modules."""
    places = defaultdict(list)
    for path in modules(root):
        for name in set(definitions(path)):
            places[name].append(path.relative_to(root).as_posix())
    return _shared(places)


def module_twins(root: Path) -> dict[str, list[str]]:
    """Names of more than one module, with the modules."""
    places = defaultdict(list)
    for path in modules(root):
        if path.stem != "__init__":
            places[path.stem].append(path.relative_to(root).as_posix())
    return _shared(places)


def modules(root: Path) -> list[Path]:
    return sorted(path for package in PACKAGES for path in (root / package).rglob("*.py"))


def _shared(places: Mapping[str, list[str]]) -> dict[str, list[str]]:
    return {name: found for name, found in places.items() if len(found) > 1}


def test_no_two_definitions_share_a_name() -> None:
    assert {name: found for name, found in twins(ROOT).items() if name not in ONE_A_ROOM} == {}


def test_every_function_each_room_may_have_is_in_several() -> None:
    assert set(twins(ROOT)) >= set(ONE_A_ROOM)


def test_modules_that_share_a_name_are_the_same_concept() -> None:
    assert {name: found for name, found in module_twins(ROOT).items() if name not in SAME_CONCEPT} == {}


def test_every_name_modules_may_share_is_shared() -> None:
    assert set(module_twins(ROOT)) >= set(SAME_CONCEPT)


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        ("class Plan: ...", "class Plan: ...", ["Plan"]),
        ("def read(): ...", "Read = int\nread = 3", ["read"]),
        ("Codes = list[int]", "Codes: TypeAlias = list[str]", ["Codes"]),
        ("LIMIT = 3\n_Plan = int\ndef _read(): ...", "LIMIT = 3\n_Plan = int\ndef _read(): ...", []),
        ("class A:\n    def read(self): ...", "class B:\n    def read(self): ...", []),
    ],
)
def test_twins_are_found(one: str, other: str, shared: list[str], tmp_path: Path) -> None:
    for room, source in (("exporter", one), ("runtimes", other)):
        (tmp_path / room).mkdir()
        (tmp_path / room / f"{room}_side.py").write_text(source)
    assert list(twins(tmp_path)) == shared
    assert module_twins(tmp_path) == {}


def test_modules_of_one_name_are_found(tmp_path: Path) -> None:
    for room in PACKAGES:
        (tmp_path / room / "inner").mkdir(parents=True)
        (tmp_path / room / "inner" / "plan.py").touch()
    assert module_twins(tmp_path) == {"plan": ["exporter/inner/plan.py", "runtimes/inner/plan.py"]}
