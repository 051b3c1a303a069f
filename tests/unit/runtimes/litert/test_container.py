"""Headers of .litertlm bundles, sound and hostile."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtimes.errors import ArtifactError
from runtimes.litert.container import (
    HEADER_START,
    MAGIC,
    TFLITE_KIND,
    bundle_models,
    is_container,
    read_sections,
)
from tests.unit.exporter.lowering.litert.tiny_releases import TinyRelease

HEADER_END_AT = 24


@pytest.fixture
def damaged(tiny_release: TinyRelease, tmp_path: Path) -> Path:
    """A copy of a bundle, to be damaged."""
    path = tmp_path / "model.litertlm"
    path.write_bytes(tiny_release.path("litertlm").read_bytes())
    return path


def _overwrite(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def test_the_text_model_is_found_on_a_page_boundary(tiny_release: TinyRelease) -> None:
    path = tiny_release.path("litertlm")
    section = bundle_models(path).text.model
    assert section.begin % (16 << 10) == 0
    assert path.read_bytes()[section.begin : section.end] == tiny_release.path("tflite").read_bytes()


def test_only_a_bundle_is_one(tiny_release: TinyRelease) -> None:
    assert is_container(tiny_release.path("litertlm"))
    assert not is_container(tiny_release.path("tflite"))


def test_a_file_shorter_than_its_header_is_refused(damaged: Path) -> None:
    damaged.write_bytes(damaged.read_bytes()[:40])
    with pytest.raises(ArtifactError, match="claims to end at byte"):
        read_sections(damaged)


def test_a_header_larger_than_any_is_refused(damaged: Path) -> None:
    _overwrite(damaged, HEADER_END_AT, (1 << 60).to_bytes(8, "little"))
    with pytest.raises(ArtifactError, match=r"claims to end at byte \d+ of"):
        read_sections(damaged)


def test_a_section_past_the_end_is_refused(damaged: Path) -> None:
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(ArtifactError, match="a section lies at bytes"):
        read_sections(damaged)


def test_no_byte_of_the_header_leads_outside_the_file(damaged: Path) -> None:
    sound = damaged.read_bytes()
    end = int.from_bytes(sound[HEADER_END_AT:HEADER_START], "little")
    for at in range(HEADER_START, end, 3):
        _overwrite(damaged, at, bytes([sound[at] ^ 0xFF]))
        try:
            sections = read_sections(damaged)
        except ArtifactError:
            pass
        else:
            assert all(end <= section.begin <= section.end <= len(sound) for section in sections)
        _overwrite(damaged, at, sound[at : at + 1])


def test_a_bundle_without_a_text_model_is_refused(damaged: Path) -> None:
    data = damaged.read_bytes()
    damaged.write_bytes(data.replace(b"tf_lite_prefill_decode", b"tf_lite_prefill_DECODE"))
    assert any(section.kind == TFLITE_KIND for section in read_sections(damaged))
    with pytest.raises(ArtifactError, match="holds no text model"):
        bundle_models(damaged)


def test_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.litertlm"
    path.write_bytes(MAGIC[::-1] + bytes(100))
    with pytest.raises(ArtifactError, match="does not begin as"):
        read_sections(path)


def test_an_absent_file_is_an_artifact_error(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="cannot be read"):
        read_sections(tmp_path / "model.litertlm")
