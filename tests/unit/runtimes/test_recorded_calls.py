"""`recorded_calls.json` comes back as it was written, and is read as strictly as the manifest."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runtimes.errors import RecordedCallsError
from runtimes.manifest import Manifest, read_manifest
from runtimes.recorded_calls import (
    RECORD_NAME,
    SCHEMA_VERSION,
    ExpectedLogits,
    RecordedArtifact,
    RecordedCall,
    RecordedCalls,
    RecordedText,
    ReplayTolerances,
    read_recorded_calls,
)
from tests.unit.exporter.packaging.test_release import sealed

CALLS = (
    RecordedCall("prefill", (2, 9, 9), (ExpectedLogits(2, (7, 3), (1.25, -0.5), 0.75),)),
    RecordedCall("decode", (7,), (ExpectedLogits(0, (1,), (0.25,), 0.5),)),
)
RECORD = RecordedCalls(
    SCHEMA_VERSION,
    (RecordedText("Ça 世界\n", (4, 5)),),
    (RecordedArtifact("onnx/model.onnx", "ONNX Runtime", ReplayTolerances(1e-3, 0.1), CALLS),),
)


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """One whose manifest has an ONNX artifact with a vocabulary of 512 and a context of 64."""
    return sealed(tmp_path)


@pytest.fixture
def manifest(release: Path) -> Manifest:
    return read_manifest(release)


def refused(release: Path, manifest: Manifest, content: str) -> str:
    (release / RECORD_NAME).write_text(content, encoding="utf-8")
    with pytest.raises(RecordedCallsError) as caught:
        read_recorded_calls(release, manifest)
    assert str(caught.value).startswith(str(release / RECORD_NAME))
    return str(caught.value)


def test_what_was_written_is_read(release: Path, manifest: Manifest) -> None:
    (release / RECORD_NAME).write_text(RECORD.to_json(), encoding="utf-8")
    assert read_recorded_calls(release, manifest) == RECORD
    assert RECORD.of(manifest.artifacts[0]) == RECORD.artifacts[0]
    assert RECORD.of(manifest.artifacts[1]) is None


def test_each_call_is_a_line_so_that_a_difference_shows_where_it_is() -> None:
    lines = RECORD.to_json().splitlines()
    assert sum(line.startswith('{"call":') for line in lines) == len(CALLS)
    assert "Ça 世界" in RECORD.to_json()


def test_a_release_without_a_record_has_none(release: Path, manifest: Manifest) -> None:
    assert read_recorded_calls(release, manifest) is None


def test_a_newer_schema_is_refused_with_what_to_use(release: Path, manifest: Manifest) -> None:
    newer = replace(RECORD, schema_version=SCHEMA_VERSION + 1).to_json()
    said = refused(release, manifest, newer)
    assert "schema_version is 2 and this version reads 1; use the gemma-export that wrote it" in said


def test_what_is_no_json_is_refused(release: Path, manifest: Manifest) -> None:
    assert "cannot be read as JSON" in refused(release, manifest, '{"schema_version": 1,')


def test_a_link_is_refused(release: Path, manifest: Manifest) -> None:
    (release / RECORD_NAME).symlink_to("/etc/hostname")
    with pytest.raises(RecordedCallsError, match="is a link"):
        read_recorded_calls(release, manifest)


def _artifact(plain: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = plain["artifacts"][0]
    return found


def _first_expected(plain: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = _artifact(plain)["calls"][0]["expected"][0]
    return found


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda plain: plain.update(more=1), "$.more: unknown key"),
        (lambda plain: _artifact(plain).pop("tolerances"), "$.artifacts[0].tolerances: key is missing"),
        (
            lambda plain: _artifact(plain).update(artifact="onnx/other.onnx"),
            "is no artifact of the manifest",
        ),
        (lambda plain: plain["artifacts"].append(_artifact(plain)), "$.artifacts[1].artifact"),
        (lambda plain: _artifact(plain)["tolerances"].update(mean_kl="NaN"), "expected a number above 0"),
        (lambda plain: _artifact(plain)["tolerances"].update(max_kl=0), "expected a number above 0"),
        (
            lambda plain: _artifact(plain)["calls"][0].update(tokens=[2] * 64),
            "hold 65 tokens, and the context 64",
        ),
        (
            lambda plain: _artifact(plain)["calls"][0].update(tokens=[2, 9, 512]),
            "outside the vocabulary of 512",
        ),
        (
            lambda plain: _artifact(plain)["calls"][0].update(call="guess"),
            "expected one of 'prefill', 'decode'",
        ),
        (lambda plain: _artifact(plain)["calls"][1].update(tokens=[7, 7]), "a decode has 2 tokens"),
        (lambda plain: _artifact(plain).update(calls=[]), "expect no logits"),
        (lambda plain: _first_expected(plain).update(position=3), "3 is no position of the call"),
        (lambda plain: _first_expected(plain).update(tokens=[7, 7]), "different tokens"),
        (lambda plain: _first_expected(plain).update(logits=[1.25]), "different tokens"),
        (lambda plain: _first_expected(plain).update(logits=[1.25, "-Infinity"]), "not finite"),
        (lambda plain: _first_expected(plain).update(others="NaN"), "not finite"),
        (lambda plain: _first_expected(plain).update(others=1e308), "more than logits can have"),
        (lambda plain: plain["texts"][0].update(tokens=[-1]), "holds a token below 0"),
    ],
)
def test_a_record_that_cannot_be_true_is_refused_with_its_path(
    release: Path, manifest: Manifest, change: Callable[[dict[str, Any]], object], complaint: str
) -> None:
    plain = json.loads(RECORD.to_json())
    change(plain)
    assert complaint in refused(release, manifest, json.dumps(plain))
