"""Tiny Gemma 3 releases, made once per scheme."""

from __future__ import annotations

import pytest

from exporter.planning.scheme import FP16, FP32, INT4_G32, INT8_CHANNEL, Scheme
from tests.tiny import tiny_gemma3
from tests.unit.exporter.lowering.onnx.tiny_releases import TinyRelease, lowered, quantized


def _make(factory: pytest.TempPathFactory, scheme: Scheme) -> TinyRelease:
    directory = factory.mktemp(scheme.name)
    return lowered(directory, quantized(directory, tiny_gemma3(), scheme))


@pytest.fixture(scope="package")
def int8_release(tmp_path_factory: pytest.TempPathFactory) -> TinyRelease:
    return _make(tmp_path_factory, INT8_CHANNEL)


@pytest.fixture(scope="package")
def int4_release(tmp_path_factory: pytest.TempPathFactory) -> TinyRelease:
    return _make(tmp_path_factory, INT4_G32)


@pytest.fixture(scope="package")
def fp16_release(tmp_path_factory: pytest.TempPathFactory) -> TinyRelease:
    return _make(tmp_path_factory, FP16)


@pytest.fixture(scope="package")
def fp32_release(tmp_path_factory: pytest.TempPathFactory) -> TinyRelease:
    return _make(tmp_path_factory, FP32)
