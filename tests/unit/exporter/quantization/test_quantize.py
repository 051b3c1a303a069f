"""Quantising a checkpoint in order: what comes of it, what is refused, and being stopped at any point.

What any store keeps, whoever writes it, is held by `tests/contracts/test_store.py`.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from exporter.errors import CheckpointError, PlanError, QuantizedCheckpointError
from exporter.models.text.spec import Role
from exporter.quantization.methods.nearest import quantize_rows
from exporter.quantization.quantize import write_quantized
from exporter.quantization.store.checkpoint import FloatMatrix, IntegerMatrix, open_quantized
from exporter.quantization.store.packing import pack
from exporter.quantization.store.safetensors_writer import write_safetensors
from exporter.schemes import (
    FP16,
    FP32,
    INT4_CHANNEL,
    INT4_G32,
    INT8_CHANNEL,
    INT8_G16,
    INT8_G32,
    IntegerScheme,
    Scheme,
)
from tests.fakes import silent
from tests.tiny import RandomSource, tiny_gemma3

EMBEDDING = "model.embed_tokens.weight"
UP = "model.layers.3.mlp.up_proj.weight"
LAST = "model.layers.6.mlp.down_proj.weight"
TURNS: tuple[Scheme, ...] = (INT4_G32, INT8_CHANNEL, FP16, INT4_CHANNEL, FP32, INT8_G32, INT8_G16)


@dataclass(frozen=True)
class CountingSource(RandomSource):
    """A source that counts reads, and can be made to die before one."""

    read: Counter[str] = field(default_factory=Counter)
    dies_at: str | None = None

    def rows(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        if name == self.dies_at:
            raise KeyboardInterrupt
        self.read[name] += stop - start
        return super().rows(name, start, stop)


def every_scheme(source: RandomSource) -> dict[str, Scheme]:
    """All schemes in turn, the embedding int8."""
    matrices = [weight.name for weight in source.components["text"].weights if weight.is_matrix]
    return {name: TURNS[i % len(TURNS)] for i, name in enumerate(matrices)} | {EMBEDDING: INT8_CHANNEL}


@pytest.fixture
def source() -> CountingSource:
    return CountingSource(tiny_gemma3())


def files(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


def test_it_holds_the_quantisers_codes_and_the_sources_vectors(
    source: CountingSource, tmp_path: Path
) -> None:
    schemes = every_scheme(source)
    opened = write_quantized(source, schemes, tmp_path / "q", silent)
    for weight in source.components["text"].weights:
        values = source.weights[weight.name]
        if not weight.is_matrix:
            np.testing.assert_array_equal(opened.vectors[weight.name], values)
            added = 1 if weight.role is Role.NORM else 0
            np.testing.assert_array_equal(
                opened.components["text"].gains()[weight.name], values + np.float32(added)
            )
            continue
        matrix, scheme = opened.matrices[weight.name], schemes[weight.name]
        assert matrix.scheme == scheme
        if isinstance(matrix, IntegerMatrix) and isinstance(scheme, IntegerScheme):
            found = quantize_rows(values, scheme)
            np.testing.assert_array_equal(matrix.packed(0, len(values)), pack(found.codes, scheme.bits))
            np.testing.assert_array_equal(matrix.codes(0, len(values)), found.codes)
            np.testing.assert_array_equal(matrix.scales(3, 9), found.scales[3:9])
        else:
            assert isinstance(matrix, FloatMatrix)
            kind = np.float16 if matrix.scheme.bits == 16 else np.float32
            np.testing.assert_array_equal(matrix.stored(0, len(values)), values.astype(kind))
            np.testing.assert_array_equal(matrix.values(2, 4), values[2:4].astype(kind))
    assert set(opened.matrices) | set(opened.vectors) == {
        weight.name for weight in source.components["text"].weights
    }


def test_progress_ends_at_the_total(source: CountingSource, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    write_quantized(source, every_scheme(source), tmp_path / "q", lambda *step: told.append(step))
    done = [step[1] for step in told if step[0] == "quantise"]
    assert done == sorted(done)
    assert told[-1][1] == told[-1][2] > 0
    assert len(told) > len(every_scheme(source))


def test_every_row_is_read_once(source: CountingSource, tmp_path: Path) -> None:
    write_quantized(source, every_scheme(source), tmp_path / "q", silent)
    assert source.read == {weight.name: weight.shape[0] for weight in source.components["text"].weights}


@pytest.mark.parametrize(
    "dies_at", [EMBEDDING, UP, "model.layers.6.mlp.down_proj.weight", "model.norm.weight"]
)
def test_a_run_stopped_anywhere_is_resumed_to_the_same_bytes(
    source: CountingSource, tmp_path: Path, dies_at: str
) -> None:
    schemes = every_scheme(source)
    write_quantized(source, schemes, tmp_path / "whole", silent)
    with pytest.raises(KeyboardInterrupt):
        write_quantized(replace(source, dies_at=dies_at), schemes, tmp_path / "q", silent)
    with pytest.raises(QuantizedCheckpointError, match="not finished"):
        open_quantized(tmp_path / "q")
    kept = {path.name.removesuffix(".safetensors") for path in (tmp_path / "q").glob("*.safetensors")}
    again = CountingSource(tiny_gemma3())
    write_quantized(again, schemes, tmp_path / "q", silent)
    assert not kept & set(again.read)
    assert files(tmp_path / "q") == files(tmp_path / "whole")


def test_a_partial_file_of_a_killed_run_does_not_count(source: CountingSource, tmp_path: Path) -> None:
    schemes = every_scheme(source)
    with pytest.raises(KeyboardInterrupt):
        write_quantized(replace(source, dies_at=UP), schemes, tmp_path / "q", silent)
    (tmp_path / "q" / f"{UP}.safetensors.partial").write_bytes(b"half a matrix")
    write_quantized(source, schemes, tmp_path / "q", silent)
    write_quantized(source, schemes, tmp_path / "whole", silent)
    assert files(tmp_path / "q") == files(tmp_path / "whole")


def test_a_run_killed_before_its_record_is_started_again(source: CountingSource, tmp_path: Path) -> None:
    (tmp_path / "q").mkdir()
    (tmp_path / "q" / "quantizing.json.partial").write_text("{", encoding="utf-8")
    write_quantized(source, every_scheme(source), tmp_path / "q", silent)
    assert not list((tmp_path / "q").glob("*.partial"))


def test_a_finished_checkpoint_is_not_made_again(source: CountingSource, tmp_path: Path) -> None:
    write_quantized(source, every_scheme(source), tmp_path / "q", silent)
    again = CountingSource(tiny_gemma3())
    write_quantized(again, every_scheme(source), tmp_path / "q", silent)
    assert not again.read


def test_a_directory_with_other_files_is_refused_and_left_alone(
    source: CountingSource, tmp_path: Path
) -> None:
    (tmp_path / "thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(QuantizedCheckpointError, match="not a quantised checkpoint; choose an empty"):
        write_quantized(source, every_scheme(source), tmp_path, silent)
    assert files(tmp_path) == {"thesis.txt": b"years of work"}


def test_a_record_that_cannot_be_read_is_refused(source: CountingSource, tmp_path: Path) -> None:
    write_quantized(source, every_scheme(source), tmp_path / "q", silent)
    (tmp_path / "q" / "quantized.json").write_text("{", encoding="utf-8")
    with pytest.raises(QuantizedCheckpointError, match=r"cannot be read as JSON .* delete the directory"):
        write_quantized(source, every_scheme(source), tmp_path / "q", silent)


def test_a_disk_too_small_is_refused_before_any_work(
    source: CountingSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type(shutil.disk_usage(tmp_path))(10**9, 10**9, 1000)
    monkeypatch.setattr("exporter.quantization.store.writer.shutil.disk_usage", lambda path: usage)
    with pytest.raises(QuantizedCheckpointError, match=r"take [1-9][0-9.]* kB, the disk has .* free some"):
        write_quantized(source, every_scheme(source), tmp_path / "q", silent)
    assert not source.read


def test_a_disk_that_fills_up_leaves_no_half_written_file(
    source: CountingSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []

    def fsync(descriptor: int) -> None:
        synced.append(descriptor)
        if len(synced) == 20:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        with pytest.raises(QuantizedCheckpointError, match=r"No space left .* then run again") as caught:
            write_quantized(source, every_scheme(source), tmp_path / "q", silent)
    assert isinstance(caught.value.__cause__, OSError)
    assert not list((tmp_path / "q").glob("*.partial"))
    write_quantized(source, every_scheme(source), tmp_path / "q", silent)
    write_quantized(source, every_scheme(source), tmp_path / "whole", silent)
    assert files(tmp_path / "q") == files(tmp_path / "whole")


def test_a_file_larger_than_the_system_allows_leaves_nothing(
    source: CountingSource, tmp_path: Path
) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16 << 10, limits[1]))  # the embedding is larger
    try:
        with pytest.raises(QuantizedCheckpointError, match="File too large"):
            write_quantized(source, every_scheme(source), tmp_path / "q", silent)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in (tmp_path / "q").iterdir()] == ["quantizing.json"]


def test_an_output_that_cannot_be_made_is_refused(source: CountingSource, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(QuantizedCheckpointError, match="cannot be written"):
        write_quantized(source, every_scheme(source), tmp_path / "file" / "q", silent)


def edited(**changed: Any) -> Mapping[str, Any]:
    return tiny_gemma3() | changed


def test_inputs_that_groups_do_not_divide_are_refused_before_any_work(tmp_path: Path) -> None:
    odd = CountingSource(edited(intermediate_size=112))
    schemes: dict[str, Scheme] = {w.name: INT4_G32 for w in odd.components["text"].weights if w.is_matrix}
    with pytest.raises(PlanError, match=r"its 112 inputs do not divide into .* choose recipe int8"):
        write_quantized(odd, schemes, tmp_path / "q", silent)
    assert not (tmp_path / "q").exists()


@pytest.mark.parametrize(("scheme", "unit"), [(INT8_CHANNEL, 4), (INT4_CHANNEL, 8)])
def test_inputs_that_do_not_fill_int32_words_are_refused(tmp_path: Path, scheme: Scheme, unit: int) -> None:
    odd = CountingSource(edited(intermediate_size=102))
    schemes = {w.name: scheme for w in odd.components["text"].weights if w.is_matrix}
    with pytest.raises(PlanError, match=f"its 102 inputs do not divide into .* {unit}"):
        write_quantized(odd, schemes, tmp_path / "q", silent)


def test_a_plan_that_leaves_a_matrix_out_is_refused(source: CountingSource, tmp_path: Path) -> None:
    schemes = every_scheme(source)
    del schemes[UP]
    with pytest.raises(PlanError, match=f"{UP}: the plan has no scheme"):
        write_quantized(source, schemes, tmp_path / "q", silent)


@pytest.mark.parametrize(
    ("scheme", "what"), [(FP16, "beyond fp16's 65504"), (INT4_G32, "needs a scale beyond")]
)
def test_a_weight_that_its_scheme_cannot_hold_is_refused(
    source: CountingSource, tmp_path: Path, scheme: Scheme, what: str
) -> None:
    source.weights[UP][5, 5] = 1e6
    with pytest.raises(CheckpointError, match=f"{UP}: .*{what}.* choose fp32"):
        write_quantized(source, every_scheme(source) | {UP: scheme}, tmp_path / "q", silent)
    assert not (tmp_path / "q" / f"{UP}.safetensors").exists()


@pytest.mark.parametrize("name", [f"{UP}.safetensors", "vectors.safetensors"])
def test_a_checkpoint_that_lost_a_file_is_refused(
    source: CountingSource, tmp_path: Path, name: str
) -> None:
    write_quantized(source, every_scheme(source), tmp_path, silent)
    (tmp_path / name).unlink()
    with pytest.raises(CheckpointError, match="No such file"):
        open_quantized(tmp_path)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"schema_version": 99}, "another schema version"),
        ({"schemes": None}, "'schemes' is missing or no object"),
        ({"schemes": {}}, "has scheme None"),
    ],
)
def test_a_record_that_is_not_ours_is_refused(
    source: CountingSource, tmp_path: Path, change: dict[str, Any], what: str
) -> None:
    write_quantized(source, every_scheme(source), tmp_path, silent)
    record = json.loads((tmp_path / "quantized.json").read_text(encoding="utf-8"))
    (tmp_path / "quantized.json").write_text(json.dumps(record | change), encoding="utf-8")
    with pytest.raises(QuantizedCheckpointError, match=what):
        open_quantized(tmp_path)


def test_negative_scales_are_read_as_they_are(source: CountingSource, tmp_path: Path) -> None:
    opened = write_quantized(source, every_scheme(source) | {UP: INT4_G32}, tmp_path, silent)
    matrix = opened.matrices[UP]
    assert isinstance(matrix, IntegerMatrix)
    packed, scales, before = matrix.packed(0, 128), -matrix.scales(0, 128), matrix.values(0, 128)
    stored = {name: (header.dtype, header.shape) for name, header in matrix.file.tensors.items()}
    shape = np.array(matrix.shape, np.int64)
    write_safetensors(
        tmp_path / f"{UP}.safetensors",
        stored,
        iter([(f"{UP}_packed", 0, packed), (f"{UP}_scale", 0, scales), (f"{UP}_shape", 0, shape)]),
    )
    flipped = open_quantized(tmp_path).matrices[UP]
    np.testing.assert_array_equal(flipped.values(0, 128), -before)
