"""Stores of a text model and its image tower: every number of both, and a record that rebuilds the spec."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from exporter.checkpoints.huggingface.source import HuggingFaceSource
from exporter.errors import QuantizedCheckpointError
from exporter.models.components import TEXT_ALONE
from exporter.models.text.spec import Role
from exporter.models.vision.eager import EagerVision
from exporter.models.vision.tower import image_rows
from exporter.quantization.quantize import write_quantized
from exporter.quantization.store.checkpoint import QuantizedCheckpoint, StoredVision, open_quantized
from exporter.quantization.store.journal import RECORD_NAME
from exporter.quantization.store.transformers_view import load_model
from exporter.schemes import INT8_CHANNEL
from tests.fakes import silent
from tests.tiny_image_stores import KINDS, tiny_image_store
from tests.tiny_stores import begun, files, written_so_far
from tests.tiny_towers import TINY_TOWERS, random_picture


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def place(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp(kind.replace(" ", "-"))


@pytest.fixture(scope="module")
def int8(kind: str, place: Path) -> QuantizedCheckpoint:
    return tiny_image_store(place, kind)


def test_the_source_reads_the_tower_that_was_written(kind: str, int8: QuantizedCheckpoint) -> None:
    source = HuggingFaceSource.open(int8.directory.parent / "checkpoint")
    tower = TINY_TOWERS[kind]()
    assert source.components["vision"].spec == tower.spec
    assert source.left_out == ()
    for weight in tower.spec.weights():
        rows = source.rows(weight.name, 0, weight.shape[0])
        np.testing.assert_array_equal(rows, tower.weights[weight.name].numpy(), err_msg=weight.name)
        middle = weight.shape[0] // 2
        np.testing.assert_array_equal(
            source.rows(weight.name, middle, middle + 1), rows[middle : middle + 1]
        )


def test_a_store_has_the_tower_beside_the_text(kind: str, int8: QuantizedCheckpoint) -> None:
    tower, vision = TINY_TOWERS[kind](), int8.components["vision"]
    assert vision.spec == tower.spec
    text = int8.components["text"]
    assert not set(vision.matrices) & set(text.matrices)
    roles = {weight.name: weight.role for weight in tower.spec.weights()}
    for name, matrix in vision.matrices.items():
        wanted = "int8-channel" if roles[name] is Role.TOWER_LINEAR else "fp16"
        assert matrix.scheme.name == wanted
    for name, vector in vision.vectors.items():
        np.testing.assert_array_equal(vector, tower.weights[name].numpy(), err_msg=name)


def test_the_stored_tower_computes_what_transformers_does(kind: str, place: Path) -> None:
    vision = tiny_image_store(place, kind, "fp32").components["vision"]
    tower, picture = TINY_TOWERS[kind](), random_picture(vision.spec)
    found = image_rows(
        vision.spec, EagerVision(_tensors(vision)), picture.pixels, picture.positions, picture.length
    )
    expected = tower.reference(picture.pixels, picture.positions)
    torch.testing.assert_close(found[0, : picture.count], expected, atol=2e-5, rtol=0)


def test_transformers_loads_the_text_of_a_store_with_a_tower(int8: QuantizedCheckpoint) -> None:
    names = set(load_model(int8.directory).state_dict()) - {"lm_head.weight"}
    assert names >= set(int8.components["text"].matrices) | set(int8.components["text"].vectors)


def test_a_recorded_tower_that_is_none_is_refused(int8: QuantizedCheckpoint, tmp_path: Path) -> None:
    record = json.loads((int8.directory / RECORD_NAME).read_text(encoding="utf-8"))
    del record["vision"]["spec"]["tokens"]
    (tmp_path / RECORD_NAME).write_text(json.dumps(record), encoding="utf-8")
    for path in int8.directory.glob("*.safetensors"):
        (tmp_path / path.name).symlink_to(path)
    with pytest.raises(QuantizedCheckpointError, match="tokens"):
        open_quantized(tmp_path)


def _tensors(vision: StoredVision) -> dict[str, torch.Tensor]:
    matrices = {
        name: torch.from_numpy(each.values(0, each.shape[0])) for name, each in vision.matrices.items()
    }
    return matrices | {name: torch.from_numpy(each.copy()) for name, each in vision.vectors.items()}


def test_a_store_of_text_alone_knows_nothing_of_towers(place: Path) -> None:
    source = HuggingFaceSource.open(place / "checkpoint", TEXT_ALONE)
    matrices = [weight.name for weight in source.components["text"].weights if weight.is_matrix]
    store = write_quantized(source, dict.fromkeys(matrices, INT8_CHANNEL), place / "text", silent)
    assert "vision" not in store.record
    assert store.components.vision is None
    seeing = {path.name: path.read_bytes() for path in (place / "store-int8-channel").glob("*.safetensors")}
    text = {path.name: path.read_bytes() for path in store.directory.glob("*.safetensors")}
    assert text.items() <= seeing.items(), "a tower changes no byte of the text"


def test_a_killed_store_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    whole = tiny_image_store(tmp_path, "Gemma 3")
    source = HuggingFaceSource.open(tmp_path / "checkpoint")
    schemes = {name: each.scheme for name, each in whole.matrices.items()}
    tower = [name for name in schemes if name.startswith("vision_tower.")]
    with begun(tmp_path / "again", source, schemes) as store:
        written_so_far(store, 3, tower)
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "again").glob("vision*")}
    assert len(kept) == 3
    write_quantized(source, schemes, tmp_path / "again", silent)
    assert files(tmp_path / "again") == files(whole.directory)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept, "written twice"
