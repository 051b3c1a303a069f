"""GGUF files in parts, as gguf-py writes them: read as one, or refused by the part that is wrong."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from exporter.checkpoints.gguf.source import GgufSource
from exporter.errors import CheckpointError
from tests.unit.exporter.checkpoints.written_checkpoints import tiny_source
from tests.unit.exporter.checkpoints.written_gguf import tiny_architecture, write_gguf


def opened(path: Path) -> GgufSource:
    return GgufSource.open(path, known=(tiny_architecture(),))


@pytest.fixture
def parts(tmp_path: Path) -> list[Path]:
    write_gguf(tiny_source(), tmp_path / "x.gguf", tensors_a_part=40)
    return sorted(tmp_path.glob("x-*.gguf"))


def test_parts_are_read_as_the_whole_file_is(parts: list[Path], tmp_path: Path) -> None:
    assert [path.name for path in parts] == [f"x-0000{i}-of-00003.gguf" for i in (1, 2, 3)]
    whole = opened(write_gguf(tiny_source(), tmp_path / "whole.gguf"))
    for given in parts:
        source = opened(given)
        assert source.tensors == whole.tensors
        assert source.tokens == whole.tokens
        assert list(source.digests()) == [path.name for path in parts]
        for name, tensor in source.tensors.items():
            rows = tensor.shape[0]
            np.testing.assert_array_equal(source.rows(name, 0, rows), whole.rows(name, 0, rows))


def test_parts_named_in_capitals_are_looked_up_as_they_are_spelled(parts: list[Path]) -> None:
    spelled = [part.rename(part.with_name(part.name.upper())) for part in parts]
    assert spelled[0].name == "X-00001-OF-00003.GGUF"
    for given in spelled:
        assert list(opened(given).digests()) == [path.name for path in spelled]


def test_a_missing_part_is_named(parts: list[Path]) -> None:
    parts[1].unlink()
    with pytest.raises(CheckpointError, match=r"is missing: .* is one of 3 parts") as caught:
        opened(parts[2])
    assert caught.value.where == str(parts[1])


def test_a_part_under_another_name_is_refused(parts: list[Path], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is one of 3 parts and its name does not say so"):
        opened(parts[0].rename(tmp_path / "x.gguf"))


def test_parts_in_each_others_place_are_refused(parts: list[Path]) -> None:
    shutil.copyfile(parts[2], parts[1])
    with pytest.raises(CheckpointError, match="does not say that it is part 2 of 3") as caught:
        opened(parts[0])
    assert caught.value.where == str(parts[1])


def test_a_part_of_another_split_is_refused_by_its_tensors(parts: list[Path], tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    write_gguf(tiny_source(), other / "x.gguf", tensors_a_part=42)
    shutil.copyfile(other / "x-00002-of-00003.gguf", parts[1])
    with pytest.raises(CheckpointError, match=r"as another part has|the parts have"):
        opened(parts[0])
