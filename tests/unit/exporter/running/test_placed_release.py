"""Files of a release before a runtime sees them: size of all, digest of what is small."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from exporter.running import placed_release
from exporter.running.placed_release import PlacedRelease
from exporter.running.prompt_tokens import speech_of
from runtimes.errors import ArtifactError
from runtimes.manifest import MANIFEST_NAME, FileEntry, read_manifest, sha256_of
from tests.tiny import write_tiny_tokenizer
from tests.unit.exporter.packaging.test_release import sealed

CHANGED = "was changed after the release was made; copy the release again"


def flip(path: Path) -> None:
    """The last byte, which leaves the size as it was."""
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def test_damage_that_leaves_the_size_is_seen_in_what_is_small_and_left_to_validate_in_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = PlacedRelease.open(sealed(tmp_path))
    (artifact,) = release.decoders("onnx")
    release.require_whole(artifact)
    flip(release.directory / artifact.path)
    with pytest.raises(ArtifactError, match=f"{artifact.path}: {CHANGED}"):
        release.require_whole(artifact)
    monkeypatch.setattr(placed_release, "LARGEST_HASHED", 4)
    release.require_whole(artifact)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
def test_no_prompt_is_cut_by_a_tokenizer_that_was_changed(name: str, tmp_path: Path) -> None:
    directory = sealed(tmp_path)
    write_tiny_tokenizer(directory)
    manifest, path = read_manifest(directory), directory / name
    entry = FileEntry(name, path.stat().st_size, sha256_of(path))
    listed = replace(manifest, files=(*manifest.files, entry))
    (directory / MANIFEST_NAME).write_text(listed.to_json(), encoding="utf-8")
    assert speech_of(PlacedRelease.open(directory)).prompt("hello")
    flip(path)
    with pytest.raises(ArtifactError, match=f"{name}: {CHANGED}"):
        speech_of(PlacedRelease.open(directory))
