"""What was made from a checkpoint is known by the digests of its files."""

from __future__ import annotations

from exporter.checkpoints.identity import is_made_from


def test_the_same_files_are_the_same_checkpoint() -> None:
    files = {"model.safetensors": "a", "config.json": "b"}
    assert is_made_from(files, files)
    assert not is_made_from(files, {**files, "config.json": "c"})
    assert not is_made_from(files, {"model.safetensors": "a"})
    assert not is_made_from(files, {**files, "model-2.safetensors": "d"})


def test_files_that_earlier_versions_did_not_look_at_tell_nothing() -> None:
    files = {"model.safetensors": "a"}
    assert is_made_from(files, {**files, "added_tokens.json": "e"})
    assert not is_made_from({**files, "added_tokens.json": "e"}, {**files, "added_tokens.json": "f"})
