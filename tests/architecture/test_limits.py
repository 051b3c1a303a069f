"""The limits on files, functions and argument lists hold over the tree, and can be broken.

What counts as a line or an argument is benchmarks/structure.py's to say.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import structure
from benchmarks.structure import Kind, Measured, measure

SEVEN = "first, /, second, *third, fourth, fifth=5, sixth=6, **seventh"


def test_nothing_is_larger_than_allowed() -> None:
    too_large = [each for each in measure(structure.ROOT) if each.too_large]
    assert not too_large, "\n".join(structure.report(too_large))


@pytest.mark.parametrize(
    ("source", "kind", "name", "size"),
    [
        ("\n" * 351, "file", "exporter/room.py", 351),
        ("def f():\n" + "    pass\n" * 60, "function", "exporter/room.py:f", 61),
        (f"def f({SEVEN}): ...", "arguments", "exporter/room.py:f", 7),
        (f"class C:\n    def f(self, {SEVEN}): ...", "arguments", "exporter/room.py:C.f", 7),
        (f"def f():\n  def g({SEVEN}): ...", "arguments", "exporter/room.py:f.g", 7),
        (f"if True:\n  async def f({SEVEN}): ...", "arguments", "exporter/room.py:f", 7),
    ],
)
def test_what_is_too_large_is_found_wherever_it_hides(
    source: str, kind: Kind, name: str, size: int, tmp_path: Path
) -> None:
    written(tmp_path, source)
    assert [each for each in measure(tmp_path) if each.too_large] == [Measured(kind, name, size)]


def test_what_is_just_allowed_is_allowed(tmp_path: Path) -> None:
    six = SEVEN.removesuffix(", **seventh")
    lines = [f"class C:\n    def f(self, {six}):", *["        pass"] * 59]
    lines += ["    a: int"] * (350 - len(lines) - 1)
    written(tmp_path, "\n".join(lines))
    sizes = {each.kind: each.size for each in measure(tmp_path)}
    assert sizes == structure.LIMITS


def test_the_command_fails_where_a_limit_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(structure, "measure", lambda root: measure(tmp_path))
    written(tmp_path, "pass")
    assert structure.main() == 0
    assert "TOO LARGE" not in capsys.readouterr().out
    written(tmp_path, f"def f({SEVEN}): ...")
    assert structure.main() == 1
    assert "7 TOO LARGE exporter/room.py:f\n" in capsys.readouterr().out


def test_the_picture_has_every_room_and_its_arrows() -> None:
    lines = structure.import_picture().splitlines()
    arrows = dict(line.split(" → ") for line in lines if " → " in line and not line.startswith("exporter"))
    rooms = {name.strip(): imported.split(", ") for name, imported in arrows.items()}
    assert {path.stem for path in (structure.ROOT / "exporter").iterdir() if is_room(path)} <= set(rooms)
    assert {"litert", "mil", "onnx", "session"} < set(rooms["open"])
    assert "quantization" in rooms["lowering"]
    assert "runtimes.litert" in rooms["lowering"]


def is_room(path: Path) -> bool:
    return (path.suffix == ".py" and path.stem != "__init__") or (path / "__init__.py").exists()


def written(root: Path, source: str) -> None:
    path = root / "exporter" / "room.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(source, encoding="utf-8")
