"""docs/devices.md is what its command writes."""

from __future__ import annotations

from benchmarks.device_table import DOCUMENT, MODELS, document
from exporter.planning.profiles import profile_names


def test_the_document_is_what_the_command_writes() -> None:
    written = DOCUMENT.read_text(encoding="utf-8")
    assert written == document(), "run python -m benchmarks.device_table"
    for name in profile_names():
        assert written.count(f"\n| {name} |") == len(MODELS)
