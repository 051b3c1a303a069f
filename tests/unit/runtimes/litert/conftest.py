"""One tiny model in both of LiteRT's formats, in integers and in float, and one behind embedders."""

from __future__ import annotations

import pytest

from exporter.schemes import FP32, INT8_CHANNEL
from tests.tiny import tiny_gemma3, tiny_gemma4_e2b
from tests.unit.exporter.lowering.litert.tiny_releases import TinyRelease, lowered, quantized


@pytest.fixture(scope="package")
def tiny_release(tmp_path_factory: pytest.TempPathFactory) -> TinyRelease:
    directory = tmp_path_factory.mktemp("litert")
    return lowered(directory, quantized(directory, tiny_gemma3(), INT8_CHANNEL))


@pytest.fixture(scope="package")
def float_release(tmp_path_factory: pytest.TempPathFactory) -> TinyRelease:
    """Its kernels do not round, so routes to the same logits can be compared closely."""
    directory = tmp_path_factory.mktemp("litert-float")
    return lowered(directory, quantized(directory, tiny_gemma3(), FP32))


@pytest.fixture(scope="package")
def embedded_release(tmp_path_factory: pytest.TempPathFactory) -> TinyRelease:
    """Its bundle looks tokens up in models of their own; in float, as above."""
    directory = tmp_path_factory.mktemp("litert-embedded")
    return lowered(directory, quantized(directory, tiny_gemma4_e2b(), FP32))
