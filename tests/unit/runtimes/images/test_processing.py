"""`image_processing.json` comes back as it was written, and is read as strictly as the manifest."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runtimes.errors import ProcessingError
from runtimes.images.processing import PROCESSING_NAME, ImageProcessing, PatchProcessing, read_processing
from runtimes.sounds.processing import SoundProcessing
from tests.image_processing import patching, squashing


def refused(release: Path, content: str | bytes) -> str:
    path = release / PROCESSING_NAME
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ProcessingError) as caught:
        read_processing(release)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value)


def changed(found: ImageProcessing | SoundProcessing, keys: str, value: Any) -> str:
    plain = json.loads(found.to_json())
    *parents, last = keys.split(".")
    inner = plain
    for each in parents:
        inner = inner[each]
    inner[last] = value
    return json.dumps(plain)


SHORT = replace(patching(), patches=PatchProcessing(16, 3, merged=False, places=256))


@pytest.mark.parametrize("found", [squashing(), patching(), patching(1120, merged=True), SHORT])
def test_what_was_written_is_read(found: ImageProcessing, tmp_path: Path) -> None:
    (tmp_path / PROCESSING_NAME).write_text(found.to_json(), encoding="utf-8")
    assert read_processing(tmp_path) == found
    assert ("places" in found.to_json()) == (found is SHORT), "older versions know no such key"


@pytest.mark.parametrize(
    ("found", "keys", "value", "says"),
    [
        (squashing(), "square.side", 0, r"\$.square.side: expected 1 to 4096"),
        (squashing(), "square.side", 10**9, r"\$.square.side"),
        (squashing(), "square.std", [0.5, 0.0, 0.5], r"\$.square.std"),
        (squashing(), "square.std", [0.5, 1e-300, 0.5], r"\$.square.std"),
        (squashing(), "square.mean", [0.5, 1e300, 0.5], r"\$.square.mean"),
        (squashing(), "square.std", [0.5, "NaN", 0.5], r"\$.square.std"),
        (squashing(), "square.mean", [0, 0, "Infinity"], r"\$.square.mean"),
        (squashing(), "square.mean", [0.5], r"\$.square.mean: has 1 numbers"),
        (squashing(), "square", None, r"\$.patches: one of square and patches"),
        (patching(), "square", {"side": 8, "mean": [0, 0, 0], "std": [1, 1, 1]}, r"one of square and"),
        (patching(), "soft_tokens", 0, r"\$.soft_tokens"),
        (patching(), "soft_tokens", 10**9, r"\$.soft_tokens"),
        (patching(), "patches.kernel", 64, r"\$.soft_tokens: of 1048576 pixels each"),
        (patching(), "patches.kernel", 0, r"\$.patches.kernel"),
        (SHORT, "patches.places", 0, r"\$.patches.places: expected 1 to"),
        (SHORT, "patches.places", "256", r"\$.patches.places: expected `int`"),
        (patching(), "patches.extra", 0, r"\$.patches.extra: unknown key"),
        (patching(), "marks.soft", -1, r"\$.marks.soft"),
        (patching(), "marks.begin", 258882, r"\$.marks: has the same id"),
        (patching(), "marks.placeholder", "", r"\$.marks.placeholder"),
        (patching(), "schema_version", 2, "use the gemma-export that wrote it"),
    ],
)
def test_what_cannot_be_is_refused_with_its_key(
    found: ImageProcessing, keys: str, value: Any, says: str, tmp_path: Path
) -> None:
    said = refused(tmp_path, changed(found, keys, value))
    assert re.search(says, said), said


def test_a_file_that_is_absent_a_link_or_no_json_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProcessingError, match="no such file"):
        read_processing(tmp_path)
    assert "cannot be read as JSON" in refused(tmp_path, b"{")
    (tmp_path / PROCESSING_NAME).rename(tmp_path / "other.json")
    (tmp_path / PROCESSING_NAME).symlink_to("other.json")
    with pytest.raises(ProcessingError, match="is a link"):
        read_processing(tmp_path)
