"""onnxruntime-genai's greedy tokens against our driver's, on every family's tiny model in int8-channel.

Not asserted: that the driver's are right (tests/contracts/test_lowering.py).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.schemes import INT8_CHANNEL
from tests.parity.genai_generation import driver_tokens, genai_tokens
from tests.tiny import TINY_CONFIGS, WINDOW
from tests.unit.exporter.lowering.onnx.tiny_releases import (
    CHUNK,
    CONTEXT,
    TinyRelease,
    lowered,
    quantized,
    some_tokens,
)

PREFILLED = 2 * CHUNK + 5


@pytest.fixture(scope="module", params=TINY_CONFIGS)
def release(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TinyRelease:
    directory = tmp_path_factory.mktemp("family")
    return lowered(directory, quantized(directory, TINY_CONFIGS[request.param](), INT8_CHANNEL))


@pytest.mark.parametrize(("prompt", "length"), [(PREFILLED, CONTEXT), (6, WINDOW - 2)])
def test_genai_generates_what_our_driver_does(release: TinyRelease, prompt: int, length: int) -> None:
    tokens = some_tokens(prompt).tolist()
    found = genai_tokens(release.path.parent, tokens, length)
    assert found
    assert found == driver_tokens(release.path, tokens, len(found))


def test_genai_ends_a_turn_at_any_of_the_stop_tokens(release: TinyRelease, tmp_path: Path) -> None:
    prompt = some_tokens(PREFILLED).tolist()
    free = driver_tokens(release.path, prompt, CONTEXT - PREFILLED)
    end = max(free.index(token) for token in free)
    ending = lowered(tmp_path, release.checkpoint, stop_tokens=(1, free[end]))
    assert genai_tokens(ending.path.parent, prompt, CONTEXT) == free[:end]
