"""Quantising while calibration text passes: what every family gets, being stopped, and threads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from exporter.models.text.spec import Role
from exporter.planning.memory import CALIBRATION
from exporter.planning.recipe import Equalization, MethodName
from exporter.quantization.calibrated_quantize import (
    Coding,
    calibration_size,
    write_calibrated,
    write_layer_by_layer,
)
from exporter.quantization.methods.calibrated import Calibrated
from exporter.quantization.methods.interface import FoundCodes, InputMoments, MatrixRows
from exporter.quantization.methods.weighted import Weighted
from exporter.quantization.store import writer
from exporter.quantization.store.checkpoint import open_quantized
from exporter.quantization.store.writer import StoreWriter
from exporter.quantization.transforms.equalization import equalize
from exporter.reference.activations import input_sizes
from exporter.reference.calibration_text import CalibrationText
from exporter.reference.moments import OPENED
from exporter.schemes import INT4_G32, INT8_CHANNEL, IntegerScheme
from tests.fakes import silent
from tests.tiny import (
    RandomSource,
    tiny_gemma1,
    tiny_gemma2,
    tiny_gemma3,
    tiny_gemma4_12b,
    tiny_gemma4_e2b,
)

EMBEDDING = "model.embed_tokens.weight"
FAMILIES = {
    "gemma1": tiny_gemma1,
    "gemma2": tiny_gemma2,
    "gemma3": tiny_gemma3,
    "gemma4 E2B": tiny_gemma4_e2b,
    "gemma4 12B": tiny_gemma4_12b,
}
HOW = Equalization(0.15, 0.35, 1.0, "as int4")


def a_text(seed: int = 3, sequences: int = 9) -> CalibrationText:
    tokens = np.random.default_rng(seed).integers(3, 500, (sequences, 16)).astype(np.int32)
    return CalibrationText(tokens, ("random",))


def coding(source: RandomSource, method: MethodName = "error-feedback") -> Coding:
    names = [weight.name for weight in source.components["text"].weights if weight.is_matrix]
    schemes = {name: INT8_CHANNEL if "embed" in name else INT4_G32 for name in names}
    return Coding(schemes, dict.fromkeys(names, method), frozenset())


def files(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@dataclass(frozen=True)
class DyingSource(RandomSource):
    """Ends the process, as it were, before something is read."""

    dies_at: str | None = None

    def rows(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        if name == self.dies_at:
            raise KeyboardInterrupt
        return super().rows(name, start, stop)


@dataclass(frozen=True)
class Noting(Calibrated):
    """Keeps what moments it was given."""

    seen: dict[str, InputMoments | None] = field(default_factory=dict)

    def find(self, rows: MatrixRows, scheme: IntegerScheme, moments: InputMoments | None) -> FoundCodes:
        self.seen[rows.name] = moments
        return super().find(rows, scheme, moments)


def noted(
    source: Any, original: RandomSource, directory: Path, method: Noting | NotingSquares | None = None
) -> Mapping[str, InputMoments | None]:
    method = method or Noting("text")
    asked = coding(original)
    with StoreWriter.begin(directory, source, asked.schemes, dict.fromkeys(asked.schemes, method)) as store:
        write_layer_by_layer(store, original, a_text(), silent)
        store.finish()
    return method.seen


@pytest.mark.parametrize("family", FAMILIES)
def test_every_linear_and_the_head_are_given_moments_of_all_tokens(family: str, tmp_path: Path) -> None:
    source = RandomSource(FAMILIES[family]())
    seen = noted(source, source, tmp_path / "q")
    spec = source.components["text"].spec
    reached = {weight.name for weight in spec.weights() if weight.role is Role.LINEAR} | {spec.head_name}
    for name in reached:
        moments = seen[name]
        assert moments is not None, name
        assert moments.tokens == a_text().tokens
        assert np.trace(moments.second) > 0
        assert (moments.opening is not None) == name.endswith(OPENED)
    lookups = {name for name, moments in seen.items() if moments is None}
    assert all("embed" in name for name in lookups)


def test_moments_of_an_equalised_source_are_of_what_enters_its_columns(tmp_path: Path) -> None:
    original = RandomSource(tiny_gemma3())
    equalised = equalize(original, input_sizes(original, a_text().sequences, silent), HOW)
    plain, rescaled = noted(original, original, tmp_path / "a"), noted(equalised, original, tmp_path / "b")
    for name, columns in equalised.columns.items():
        before, after = plain[name], rescaled[name]
        assert before is not None
        assert after is not None
        np.testing.assert_allclose(after.second, before.second * np.outer(columns, columns), rtol=1e-6)
        if before.opening is not None:
            assert after.opening is not None
            np.testing.assert_array_equal(after.opening, before.opening * columns)


@dataclass(frozen=True)
class NotingSquares(Weighted):
    """Keeps what moments it was given."""

    seen: dict[str, InputMoments | None] = field(default_factory=dict)

    def find(self, rows: MatrixRows, scheme: IntegerScheme, moments: InputMoments | None) -> FoundCodes:
        self.seen[rows.name] = moments
        return super().find(rows, scheme, moments)


def test_methods_that_look_at_no_products_are_given_the_diagonal_of_the_moments(tmp_path: Path) -> None:
    original = RandomSource(tiny_gemma3())
    equalised = equalize(original, input_sizes(original, a_text().sequences, silent), HOW)
    whole = noted(equalised, original, tmp_path / "whole")
    squares = noted(equalised, original, tmp_path / "squares", NotingSquares("text"))
    for name, moments in whole.items():
        given = squares[name]
        assert moments is not None
        assert given is not None
        assert given.second.ndim == 1
        np.testing.assert_allclose(given.energy, moments.energy, rtol=1e-5)


@pytest.mark.parametrize("method", ["error-feedback", "weighted"])
@pytest.mark.parametrize(
    "dies_at", ["model.layers.0.mlp.up_proj.weight", "model.layers.5.mlp.down_proj.weight"]
)
def test_a_run_stopped_anywhere_is_resumed_to_the_same_bytes(
    tmp_path: Path, dies_at: str, method: MethodName
) -> None:
    source = DyingSource(tiny_gemma3())
    asked = coding(source, method)
    write_calibrated(source, asked, a_text(), tmp_path / "whole", silent)
    with pytest.raises(KeyboardInterrupt):
        write_calibrated(replace(source, dies_at=dies_at), asked, a_text(), tmp_path / "q", silent)
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "q").glob("*.safetensors")}
    write_calibrated(source, asked, a_text(), tmp_path / "q", silent)
    assert files(tmp_path / "q") == files(tmp_path / "whole")
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())


def test_another_text_discards_what_is_there(tmp_path: Path) -> None:
    source = RandomSource(tiny_gemma3())
    first = write_calibrated(source, coding(source), a_text(3), tmp_path / "q", silent)
    before = first.record
    write_calibrated(source, coding(source), a_text(4), tmp_path / "q", silent)
    assert open_quantized(tmp_path / "q").record != before


@pytest.mark.parametrize("method", ["error-feedback", "weighted"])
def test_one_processor_and_two_come_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: MethodName
) -> None:
    source, threads = RandomSource(tiny_gemma3()), torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            monkeypatch.setattr(writer, "worker_count", lambda count=count: count)
            write_calibrated(source, coding(source, method), a_text(), tmp_path / str(count), silent)
    finally:
        torch.set_num_threads(threads)
    assert files(tmp_path / "1") == files(tmp_path / "2")


def test_calibrated_codes_are_nearer_in_what_the_linears_put_out(tmp_path: Path) -> None:
    source = RandomSource(tiny_gemma3())
    seen = noted(source, source, tmp_path / "noted")
    calibrated = write_calibrated(source, coding(source), a_text(), tmp_path / "calibrated", silent)
    nearest = write_calibrated(source, coding(source, "nearest"), a_text(), tmp_path / "nearest", silent)
    for name in ("model.layers.2.mlp.down_proj.weight", "model.layers.4.self_attn.q_proj.weight"):
        moments, rows = seen[name], source.tensors[name].shape[0]
        assert moments is not None
        left = [
            source.rows(name, 0, rows) - checkpoint.matrices[name].values(0, rows)
            for checkpoint in (calibrated, nearest)
        ]
        ours, plain = (np.einsum("ri,ij,rj", error, moments.second, error) for error in left)
        assert ours < 0.8 * plain


def test_who_plans_without_torch_counts_on_what_quantising_does() -> None:
    assert calibration_size() == CALIBRATION
