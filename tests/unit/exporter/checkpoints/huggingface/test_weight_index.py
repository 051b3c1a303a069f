"""Weights in several files, and the index that says which lies where: incomplete, damaged, hostile."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from exporter.errors import CheckpointError
from tests.unit.exporter.checkpoints.huggingface.test_source import EMBEDDING, UP, refused
from tests.unit.exporter.checkpoints.written_checkpoints import (
    tiny_source,
    write_huggingface,
    write_json,
)

INDEX = "model.safetensors.index.json"
SHARD = "model-00002-of-00003.safetensors"


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    return write_huggingface(tiny_source(), tmp_path / "sharded", shards=3)


def test_a_missing_shard_is_refused(sharded: Path) -> None:
    (sharded / SHARD).unlink()
    refused(sharded, CheckpointError, "is missing; the download is incomplete", SHARD)


def test_a_truncated_shard_is_refused(sharded: Path) -> None:
    data = (sharded / SHARD).read_bytes()
    (sharded / SHARD).write_bytes(data[:-100])
    refused(sharded, CheckpointError, "truncated or damaged", SHARD)


def test_a_shard_cut_inside_its_header_is_refused(sharded: Path) -> None:
    (sharded / SHARD).write_bytes((sharded / SHARD).read_bytes()[:50])
    refused(sharded, CheckpointError, "header claims", SHARD)


@pytest.mark.parametrize(
    "name", ["../elsewhere.safetensors", "/etc/passwd", "sub/x.safetensors", "..", "", "sub\\x.safetensors"]
)
def test_an_index_that_names_a_file_elsewhere_is_refused(sharded: Path, name: str) -> None:
    placed = json.loads((sharded / INDEX).read_text(encoding="utf-8"))["weight_map"]
    (sharded.parent / "elsewhere.safetensors").write_bytes((sharded / SHARD).read_bytes())
    write_json(sharded / INDEX, {"weight_map": placed | {UP: name}})
    refused(sharded, CheckpointError, "which is not in the directory")


def test_a_shard_that_is_a_link_to_elsewhere_is_refused(sharded: Path) -> None:
    (sharded / SHARD).rename(sharded.parent / "secret")
    (sharded / SHARD).symlink_to(sharded.parent / "secret")
    refused(sharded, CheckpointError, "outside the directory", SHARD)


def test_an_index_that_does_not_match_its_shard_is_refused(sharded: Path) -> None:
    placed = json.loads((sharded / INDEX).read_text(encoding="utf-8"))["weight_map"]
    write_json(sharded / INDEX, {"weight_map": placed | {EMBEDDING: SHARD}})
    refused(sharded, CheckpointError, "is not in the index|is in the index but not there", ".safetensors")


@pytest.mark.parametrize("index", [{}, {"weight_map": []}, {"weight_map": {"a": 1}}])
def test_an_index_without_a_map_is_refused(sharded: Path, index: dict[str, Any]) -> None:
    write_json(sharded / INDEX, index)
    refused(sharded, CheckpointError, "has no weight_map", INDEX)
