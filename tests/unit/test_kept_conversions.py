"""Conversions that tests keep: equal traces share one, and nothing else does.

Not about what coremltools makes of a trace: a stand-in counts what it is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from coremltools.proto import Model_pb2
from torch import Tensor

from exporter.lowering.coreml.traced_program import Input, Length, Traceable
from tests.kept_conversions import KeptConversions


class Product(torch.nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self._factor = torch.full((3,), factor)

    def forward(self, x: Tensor) -> Tensor:
        return x * self._factor


@dataclass
class Converter:
    """Makes a model that says how many it has made."""

    directory: Path
    made: int = field(default=0)

    @property
    def weights_dir(self) -> str:
        return str(self.directory)

    def get_spec(self) -> Any:
        return Model_pb2.Model(specificationVersion=self.made)

    def __call__(self, traced: Any, traceable: Traceable) -> Any:
        self.made += 1
        (self.directory / "weight.bin").write_bytes(bytes([self.made]))
        return self


def traceable(factor: float = 2.0) -> Traceable:
    given = Input("x", torch.zeros(3), (Length("n", 1, 9, 1),))
    return Traceable(Product(factor), (given,), {}, {}, ("y",))


@pytest.fixture
def converter(tmp_path: Path) -> Converter:
    return Converter(tmp_path)


def converted(converter: Converter, directory: Path, given: Traceable) -> int:
    """Which of the converter's models a new worker gets."""
    trace: Any = torch.jit.trace
    traced = trace(given.module.eval(), tuple(each.example for each in given.inputs))
    kept = KeptConversions.below(directory, converter)(traced, given)
    (number,) = (Path(kept.weights_dir) / "weight.bin").read_bytes()
    assert kept.get_spec().specificationVersion == number
    return number


def test_an_equal_trace_is_converted_once(converter: Converter, tmp_path: Path) -> None:
    assert [converted(converter, tmp_path, traceable()) for _ in range(3)] == [1, 1, 1]
    assert converter.made == 1


def test_whatever_coremltools_would_see_another_of_is_converted(
    converter: Converter, tmp_path: Path
) -> None:
    plain = traceable()
    (given,) = plain.inputs
    others = [
        plain,
        traceable(factor=3.0),
        replace(plain, inputs=(replace(given, name="z"),)),
        replace(plain, inputs=(replace(given, shape=(Length("n", 1, 8, 1),)),)),
        replace(plain, inputs=(replace(given, example=torch.zeros(3, dtype=torch.int32)),)),
        replace(plain, matrices={"w": (3, 3)}),
        replace(plain, states={"cache": (3,)}),
        replace(plain, outputs=("z",)),
    ]
    found = [converted(converter, tmp_path, each) for each in others]
    assert found == list(range(1, len(others) + 1))
