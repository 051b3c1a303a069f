"""Methods and the store: what is asked of one, what decides the bytes, and what is refused of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from exporter.errors import CheckpointError, PlanError
from exporter.quantization.methods.interface import (
    FoundCodes,
    InputMoments,
    MatrixRows,
    Method,
    MethodRecord,
)
from exporter.quantization.methods.nearest import Nearest, quantize_rows
from exporter.quantization.store.checkpoint import (
    IntegerMatrix,
)
from exporter.quantization.store.writer import StoreWriter
from exporter.schemes import (
    FP16,
    FP32,
    INT2_G32_ZP,
    INT4_G32,
    INT4_G32_ZP,
    IntegerScheme,
    Scheme,
)
from tests.tiny_stores import (
    DOWN,
    UP,
    begun,
    everywhere,
    files,
    tiny,
    untold,
    written,
    written_so_far,
)


@dataclass(frozen=True)
class Renamed:
    """Nearest under a record of its own."""

    record: MethodRecord

    @property
    def looks_at_products(self) -> bool:
        return False

    def tile(self, inputs: int) -> int:
        return 1

    def find(self, rows: MatrixRows, scheme: IntegerScheme, moments: InputMoments | None) -> FoundCodes:
        return Nearest().find(rows, scheme, moments)


CHANGES: dict[str, tuple[int, Mapping[str, Scheme], Method]] = {
    "source": (1, {}, Nearest()),
    "plan": (0, {DOWN: FP32}, Nearest()),
    "method's name": (0, {}, Renamed(replace(Nearest().record, name="second nearest"))),
    "method's version": (0, {}, Renamed(replace(Nearest().record, version=99))),
    "method's settings": (0, {}, Renamed(replace(Nearest().record, settings={"damping": 0.01}))),
}


@pytest.mark.parametrize("stopped", [False, True], ids=["finished", "stopped"])
@pytest.mark.parametrize("changed", CHANGES)
def test_matrices_of_another_making_are_discarded(tmp_path: Path, changed: str, stopped: bool) -> None:
    source = tiny()
    with begun(tmp_path / "q", source, everywhere(source, INT4_G32_ZP)) as store:
        written_so_far(store, 4 if stopped else len(store.schemes))
        if not stopped:
            store.finish()
    seed, different, method = CHANGES[changed]
    other = tiny(seed)
    schemes = {**everywhere(other, INT4_G32_ZP), **different}
    with begun(tmp_path / "q", other, schemes, method) as store:
        assert not any(store.has(name) for name in schemes)
    written(tmp_path / "q", other, schemes, method)
    written(tmp_path / "fresh", other, schemes, method)
    assert files(tmp_path / "q") == files(tmp_path / "fresh")


def test_the_record_names_the_method_of_every_matrix_of_codes(tmp_path: Path) -> None:
    source = tiny()
    schemes = {**everywhere(source, INT4_G32), UP: FP16}
    record = written(tmp_path / "q", source, schemes).record
    assert set(record["methods"]) == set(schemes) - {UP}
    assert record["methods"][DOWN] == {"name": "nearest", "version": 4, "settings": {}}


def test_an_integer_scheme_without_a_method_is_refused_before_any_work(tmp_path: Path) -> None:
    source = tiny()
    with (
        pytest.raises(PlanError, match="nothing finds its int4-g32 codes; give the store a method"),
        StoreWriter.begin(tmp_path / "q", source, everywhere(source, INT4_G32), {}),
    ):
        pass
    assert not (tmp_path / "q").exists()


@dataclass
class ByImportance:
    """A method of a calibrated kind: scales of absmax, moved by how much the inputs vary."""

    seen: list[InputMoments | None] = field(default_factory=list)
    record: MethodRecord = field(default_factory=lambda: MethodRecord("by importance", 1, {"power": 0.5}))

    @property
    def looks_at_products(self) -> bool:
        return True

    def tile(self, inputs: int) -> int:
        return 1

    def find(self, rows: MatrixRows, scheme: IntegerScheme, moments: InputMoments | None) -> FoundCodes:
        self.seen.append(moments)
        found = Nearest().find(rows, scheme, None)
        if moments is None:
            return found
        share = np.float16(float(np.sqrt(moments.second.diagonal().mean())))
        return replace(found, scales=found.scales * share)


def test_a_method_is_given_the_moments_of_a_matrixs_inputs(tmp_path: Path) -> None:
    source, method = tiny(), ByImportance()
    moments = InputMoments(np.eye(128, dtype=np.float32) * 4, 1000)
    with begun(tmp_path / "q", source, everywhere(source, INT4_G32), method) as store:
        store.write(UP, untold, moments)
        assert {id(seen) for seen in method.seen} == {id(moments)}
        plain = quantize_rows(source.weights[UP], INT4_G32)
        matrix = store.matrix(UP)
        assert isinstance(matrix, IntegerMatrix)
        np.testing.assert_array_equal(matrix.scales(0, matrix.shape[0]), plain.scales * 2)


@dataclass(frozen=True)
class Wrong:
    """A method with a bug. how: what is changed of what Nearest finds."""

    how: str

    @property
    def record(self) -> MethodRecord:
        return MethodRecord("wrong", 1, {"how": self.how})

    @property
    def looks_at_products(self) -> bool:
        return False

    def tile(self, inputs: int) -> int:
        return 1

    def find(self, rows: MatrixRows, scheme: IntegerScheme, moments: InputMoments | None) -> FoundCodes:
        found = Nearest().find(rows, scheme, moments)
        match self.how:
            case "too large a code":
                return replace(found, codes=np.full_like(found.codes, 2 ** (scheme.bits - 1)))
            case "too large a zero point":
                return replace(found, zero_points=np.full(found.scales.shape, 100, np.int8))
            case "a scale too few":
                return replace(found, scales=found.scales[:, 1:])
            case "too fine a scale":
                return replace(found, scales=found.scales.astype(np.float32) * np.float32(1.0001))
            case _:
                given = None if scheme.zero_points else np.zeros(found.scales.shape, np.int8)
                return replace(found, zero_points=given)


@pytest.mark.parametrize(
    ("how", "scheme", "complaint"),
    [
        ("too large a code", INT4_G32, "codes from 8 to 8 do not fit 4 bits"),
        ("too large a zero point", INT4_G32_ZP, "codes from .* to 100 do not fit 4 bits"),
        ("a scale too few", INT4_G32, "which are not int4-g32's"),
        ("too fine a scale", INT4_G32, "has a scale that int4-g32 cannot keep exactly"),
        ("zero points where there are none", INT4_G32, "which are not int4-g32's"),
        ("no zero points where there are some", INT2_G32_ZP, "which are not int2-g32-zp's"),
    ],
)
def test_what_a_scheme_cannot_hold_is_refused_and_nothing_written(
    tmp_path: Path, how: str, scheme: Scheme, complaint: str
) -> None:
    source = tiny()
    with begun(tmp_path / "q", source, everywhere(source, scheme), Wrong(how)) as store:
        with pytest.raises(CheckpointError, match=f"{UP}: .*{complaint}.* a bug in gemma-export"):
            store.write(UP, untold)
        assert not store.has(UP)
    assert [path.name for path in (tmp_path / "q").iterdir()] == ["quantizing.json"]
