"""One tiny ONNX artifact for all tests of its driver."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.schemes import FP32
from tests.tiny import tiny_gemma3
from tests.unit.exporter.lowering.onnx.tiny_releases import lowered, quantized


@pytest.fixture(scope="package")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("onnx")
    return lowered(directory, quantized(directory, tiny_gemma3(), FP32)).path
