"""The quantised checkpoint as a store, whatever its scheme: begun, written, finished, resumed, read.

Held for every scheme in SCHEMES on a model whose rows fill no whole word of zero points: what was found is
what is read, by us and by compressed-tensors alike; the bytes depend on source, schemes and methods, and on
nothing else (order, threads, chunks, being killed); what is unfinished, damaged or of another making is
never taken for the checkpoint. Not about how good codes are: `tests/properties` is.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from exporter.errors import CheckpointError, QuantizedCheckpointError
from exporter.quantization.methods.nearest import quantize_rows
from exporter.quantization.store.checkpoint import (
    FloatMatrix,
    QuantizedCheckpoint,
    open_quantized,
)
from exporter.quantization.store.layout import SHAPE, matrix_file_name
from exporter.quantization.store.unpacked_weights import UnpackedWeights
from exporter.schemes import (
    FP32,
    INT2_G32_ZP,
    INT4_G32,
    INT8_CHANNEL,
    SCHEMES,
    FloatScheme,
    IntegerScheme,
    Scheme,
)
from tests.tiny import RandomSource
from tests.tiny_stores import (
    EMBEDDING,
    ONE_LAYER,
    UP,
    begun,
    everywhere,
    files,
    matrices,
    tiny,
    untold,
    written,
    written_so_far,
)

KILLED = """
import os, signal, sys
from pathlib import Path
from exporter.quantization.methods.nearest import Nearest
from exporter.quantization.store.writer import StoreWriter
from exporter.schemes import SCHEMES
from tests.tiny import RandomSource
source = RandomSource(eval(sys.argv[2]))
names = [weight.name for weight in source.components["text"].spec.weights() if weight.is_matrix]
schemes, methods = dict.fromkeys(names, SCHEMES[sys.argv[3]]), dict.fromkeys(names, Nearest())
with StoreWriter.begin(Path(sys.argv[1]), source, schemes, methods) as store:
    for name in names[:3]:
        store.write(name, lambda done: None)
    store.write(names[3], lambda done: os.kill(os.getpid(), signal.SIGKILL))
"""


@dataclass(frozen=True)
class Whole:
    """A scheme's finished checkpoint, to be read and never written to."""

    scheme: Scheme
    source: RandomSource
    checkpoint: QuantizedCheckpoint

    @property
    def schemes(self) -> dict[str, Scheme]:
        return everywhere(self.source, self.scheme)

    @property
    def files(self) -> dict[str, bytes]:
        return files(self.checkpoint.directory)


@pytest.fixture(scope="module", params=list(SCHEMES.values()), ids=list(SCHEMES))
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    source, scheme = tiny(), request.param
    directory = tmp_path_factory.mktemp(scheme.name) / "whole"
    return Whole(scheme, source, written(directory, source, everywhere(source, scheme)))


def test_the_model_fills_no_whole_word_of_zero_points_and_suits_every_group() -> None:
    shapes = [weight.shape for weight in tiny().components["text"].weights if weight.is_matrix]
    assert all(inputs % 128 == 0 for _, inputs in shapes)
    assert any(rows % 4 for rows, _ in shapes)
    assert {scheme.group for scheme in SCHEMES.values() if isinstance(scheme, IntegerScheme)} == {
        None,
        16,
        32,
        64,
        128,
    }


def test_what_was_found_is_what_is_read(whole: Whole) -> None:
    for name, matrix in whole.checkpoint.matrices.items():
        values = whole.source.weights[name]
        rows = len(values)
        if isinstance(matrix, FloatMatrix):
            kind = np.float16 if matrix.scheme.bits == 16 else np.float32
            np.testing.assert_array_equal(matrix.values(0, rows), values.astype(kind))
            continue
        found = quantize_rows(values, matrix.scheme)
        np.testing.assert_array_equal(matrix.codes(0, rows), found.codes)
        np.testing.assert_array_equal(matrix.scales(0, rows), found.scales)
        zero_points = matrix.zero_points(0, rows)
        assert (zero_points is None) == (found.zero_points is None) == (not matrix.scheme.zero_points)
        if zero_points is not None:
            np.testing.assert_array_equal(zero_points, found.zero_points)
            np.testing.assert_array_equal(matrix.zero_points(rows - 7, rows - 2), zero_points[-7:-2])
        np.testing.assert_array_equal(matrix.values(5, 9), matrix.values(0, rows)[5:9])


def test_compressed_tensors_reads_exactly_what_we_read(whole: Whole) -> None:
    theirs = UnpackedWeights(whole.checkpoint)
    for name, matrix in whole.checkpoint.matrices.items():
        rows = matrix.shape[0]
        for start, stop in ((0, rows), (0, 1), (17, 35), (rows - 3, rows)):
            np.testing.assert_array_equal(
                theirs.rows(name, start, stop).numpy(), matrix.values(start, stop), strict=True
            )
    gathered = theirs.gather(EMBEDDING, [509, 3, 3, 18]).numpy()
    np.testing.assert_array_equal(
        gathered, whole.checkpoint.matrices[EMBEDDING].values(0, 510)[[509, 3, 3, 18]]
    )


def test_a_scheme_says_how_many_bytes_it_stores(whole: Whole) -> None:
    for name, matrix in whole.checkpoint.matrices.items():
        stored = {tensor: header.nbytes for tensor, header in matrix.file.tensors.items()}
        stored.pop(f"{name}{SHAPE}", None)
        assert sum(stored.values()) == whole.scheme.stored_bytes(matrix.shape)


def test_the_loader_is_told_whether_there_are_zero_points(whole: Whole) -> None:
    config = json.loads(whole.files["config.json"])
    if isinstance(whole.scheme, FloatScheme):
        assert "quantization_config" not in config
        return
    (group,) = config["quantization_config"]["config_groups"].values()
    assert group["weights"]["symmetric"] is not whole.scheme.zero_points
    assert group["weights"]["num_bits"] == whole.scheme.bits
    assert group["weights"]["group_size"] == whole.scheme.group


def test_the_order_of_writing_changes_no_byte(whole: Whole, tmp_path: Path) -> None:
    backwards = list(reversed(whole.schemes))
    written(tmp_path / "q", whole.source, whole.schemes, order=backwards)
    assert files(tmp_path / "q") == whole.files


def test_threads_and_chunks_change_no_byte(
    whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exporter.quantization.store.writer.CHUNK_BYTES", 7 * 128 * 4)
    for workers in (1, 2):
        monkeypatch.setattr("exporter.quantization.store.writer.worker_count", lambda n=workers: n)
        written(tmp_path / str(workers), whole.source, whole.schemes)
        assert files(tmp_path / str(workers)) == whole.files


def test_a_store_stopped_between_matrices_goes_on_to_the_same_bytes(whole: Whole, tmp_path: Path) -> None:
    with begun(tmp_path / "q", whole.source, whole.schemes) as store:
        done = written_so_far(store, 5)
    with pytest.raises(QuantizedCheckpointError, match="the checkpoint is not finished; quantise again"):
        open_quantized(tmp_path / "q")
    made = {name: (tmp_path / "q" / matrix_file_name(name)).stat().st_mtime_ns for name in done}
    with begun(tmp_path / "q", whole.source, whole.schemes) as store:
        assert [name for name in whole.schemes if store.has(name)] == done
        written_so_far(store, len(whole.schemes))
        store.finish()
    assert files(tmp_path / "q") == whole.files
    for name, when in made.items():
        assert (tmp_path / "q" / matrix_file_name(name)).stat().st_mtime_ns == when


def test_a_process_killed_in_the_middle_of_a_matrix_leaves_whole_ones(tmp_path: Path) -> None:
    source = tiny()
    names, schemes = matrices(source), everywhere(source, INT2_G32_ZP)
    command = [sys.executable, "-c", KILLED, str(tmp_path / "q"), repr(ONE_LAYER), INT2_G32_ZP.name]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert (tmp_path / "q" / f"{matrix_file_name(names[3])}.partial").exists()
    with begun(tmp_path / "q", source, schemes) as store:
        assert [name for name in names if store.has(name)] == names[:3]
    written(tmp_path / "q", source, schemes)
    written(tmp_path / "whole", source, schemes)
    assert files(tmp_path / "q") == files(tmp_path / "whole")


def test_a_finished_store_is_opened_as_it_is(whole: Whole) -> None:
    before = whole.files
    with begun(whole.checkpoint.directory, whole.source, whole.schemes) as store:
        assert store.finished
        assert all(store.has(name) for name in whole.schemes)
        assert store.finish().record == whole.checkpoint.record
    assert whole.files == before


def test_a_store_with_a_matrix_missing_is_not_finished(whole: Whole, tmp_path: Path) -> None:
    names = list(whole.schemes)
    with begun(tmp_path / "q", whole.source, whole.schemes) as store:
        written_so_far(store, len(names) - 2, order=names[1:])
        with pytest.raises(
            QuantizedCheckpointError, match=f"2 matrices are missing, {names[0]} first; write them"
        ):
            store.finish()
    assert not (tmp_path / "q" / "quantized.json").exists()


def test_a_damaged_file_is_refused(whole: Whole, tmp_path: Path) -> None:
    directory = tmp_path / "q"
    directory.mkdir()
    for name, data in whole.files.items():
        (directory / name).write_bytes(data)
    path = directory / matrix_file_name(UP)
    os.truncate(path, path.stat().st_size - 8)
    with pytest.raises(CheckpointError, match=UP):
        open_quantized(directory)
    path.write_bytes(b"\0" * 64)
    with pytest.raises(CheckpointError, match=UP):
        open_quantized(directory)
    path.unlink()
    with pytest.raises(CheckpointError, match="No such file"):
        open_quantized(directory)


def test_a_file_of_another_scheme_is_refused(whole: Whole, tmp_path: Path) -> None:
    other = written(tmp_path / "other", whole.source, everywhere(whole.source, _another(whole.scheme)))
    directory = tmp_path / "q"
    directory.mkdir()
    for name, data in whole.files.items():
        (directory / name).write_bytes(data)
    name = matrix_file_name(UP)
    (directory / name).write_bytes((other.directory / name).read_bytes())
    with pytest.raises(CheckpointError, match=UP):
        open_quantized(directory)


def _another(scheme: Scheme) -> Scheme:
    """A scheme whose files differ, where there is one with zero points by that alone."""
    if isinstance(scheme, FloatScheme):
        return INT8_CHANNEL
    if scheme.zero_points:
        return SCHEMES.get(scheme.name.removesuffix("-zp"), FP32)
    return SCHEMES.get(f"{scheme.name}-zp", FP32)


def test_a_matrix_is_readable_before_the_store_is_finished(whole: Whole, tmp_path: Path) -> None:
    with begun(tmp_path / "q", whole.source, whole.schemes) as store:
        with pytest.raises(CheckpointError, match="No such file"):
            store.matrix(UP)
        store.write(UP, untold)
        rows = whole.checkpoint.matrices[UP].shape[0]
        np.testing.assert_array_equal(
            store.matrix(UP).values(0, rows), whole.checkpoint.matrices[UP].values(0, rows)
        )


def test_whoever_writes_a_matrix_is_told_how_far_it_is(whole: Whole, tmp_path: Path) -> None:
    told: list[int] = []
    with begun(tmp_path / "q", whole.source, whole.schemes) as store:
        store.write(UP, told.append)
    assert told == sorted(told)
    assert told[-1] == whole.source.weights[UP].size


def test_a_matrix_that_is_there_is_not_written_again(tmp_path: Path) -> None:
    source = tiny()
    with begun(tmp_path / "q", source, everywhere(source, INT4_G32)) as store:
        store.write(UP, untold)
        with pytest.raises(QuantizedCheckpointError, match=f"{UP}.* is written already; ask `has`"):
            store.write(UP, untold)
