"""Links in a checkpoint: what they lead to outside is neither read nor copied, and loops are named so."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from exporter.checkpoints.files.checkpoint_directory import CheckpointDirectory
from exporter.checkpoints.files.hub_layout import LEGAL_FILES, MODEL_CARD, WEIGHTS
from exporter.checkpoints.huggingface.weight_files import find_weights
from exporter.errors import CheckpointError
from exporter.packaging.licences import write_licence_pack


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("a private key", encoding="utf-8")
    found = tmp_path / "checkpoint"
    found.mkdir()
    return found


def test_a_licence_that_is_a_link_out_of_the_checkpoint_is_not_copied(checkpoint: Path) -> None:
    (checkpoint / "LICENSE").symlink_to("../secret")
    release = checkpoint.parent / "release"
    release.mkdir()
    with pytest.raises(CheckpointError, match=r"LICENSE: is a link to .*secret, outside"):
        write_licence_pack(
            release, model="m", model_type="gemma3_text", documents=checkpoint, modified=(), change=""
        )
    assert not (release / "LICENSE").exists()


def test_such_a_licence_is_refused_before_the_work(checkpoint: Path) -> None:
    (checkpoint / "NOTICE.txt").symlink_to("../secret")
    with pytest.raises(CheckpointError, match=r"NOTICE.txt: is a link to"):
        CheckpointDirectory(checkpoint).require_own(LEGAL_FILES)


@pytest.mark.parametrize(
    ("make", "name"), [(os.mkfifo, "README.md"), (os.mkfifo, "LICENSE"), (os.mkdir, "README.md")]
)
def test_a_licence_that_is_no_plain_file_is_refused_before_the_work(
    checkpoint: Path, name: str, make: Callable[[Path], None]
) -> None:
    make(checkpoint / name)
    with pytest.raises(CheckpointError, match=f"{name}: is not a plain file"):
        CheckpointDirectory(checkpoint).require_own((MODEL_CARD, *LEGAL_FILES))


def test_a_directory_of_licences_is_passed_over(checkpoint: Path) -> None:
    (checkpoint / "licenses").mkdir()
    CheckpointDirectory(checkpoint).require_own((MODEL_CARD, *LEGAL_FILES))


def test_a_link_within_the_checkpoint_is_followed(checkpoint: Path) -> None:
    (checkpoint / "terms.txt").write_text("terms", encoding="utf-8")
    (checkpoint / "LICENSE").symlink_to("terms.txt")
    CheckpointDirectory(checkpoint).require_own(LEGAL_FILES)
    assert CheckpointDirectory(checkpoint).file("LICENSE").read_text(encoding="utf-8") == "terms"


@pytest.mark.parametrize("target", [WEIGHTS, "nowhere"])
def test_weights_that_are_a_link_to_themselves_or_nowhere_are_called_that(
    checkpoint: Path, target: str
) -> None:
    (checkpoint / WEIGHTS).symlink_to(target)
    with pytest.raises(CheckpointError, match=r"model.safetensors: is a link that leads nowhere"):
        find_weights(CheckpointDirectory(checkpoint))
