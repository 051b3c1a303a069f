"""transformers.js' pipeline against our driver, on tiny models: Gemma 2, 3 and 4, in Node and in Chromium.

Matrix: family x engine, int8; WebGPU on Gemma 2 alone, whose soft caps and windows its own attention kernel
gets wrong (docs/adr/0020), the others in benchmarks/web.py. The prompt outgrows the window. Not asserted:
that the driver's logits are right (tests/contracts/test_lowering.py).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from exporter.formats.web_paths import MEAN_KL_LIMIT
from exporter.lowering.onnx.lowering import OnnxLowering
from exporter.schemes import INT8_CHANNEL
from runtimes.errors import ExecutionFailed
from runtimes.onnx.transformers_js import Engine
from tests.tiny import TINY_CONFIGS, WINDOW
from tests.tiny_releases import CHUNK, TinyRelease, mean_kl, quantized, some_tokens
from tests.web_engines import driver_logits, taken_by

FAMILIES = ("Gemma 2", "Gemma 3", "Gemma 4 E2B")
PREFILLED, DECODED = 2 * CHUNK + 5, 4
TOKENS = some_tokens(PREFILLED + DECODED)
WEB = OnnxLowering(frozenset({"onnx-web"}))


class Tiny:
    """Releases by family, lowered when first asked for."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._made: dict[str, TinyRelease] = {}

    def get(self, family: str) -> TinyRelease:
        if family not in self._made:
            directory = self.root / family.replace(" ", "-")
            directory.mkdir()
            checkpoint = quantized(directory, TINY_CONFIGS[family](), INT8_CHANNEL)
            self._made[family] = TinyRelease.lower(directory, checkpoint, WEB)
        return self._made[family]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return Tiny(tmp_path_factory.mktemp("web"))


def graph_of(release: TinyRelease) -> Path:
    return release.directory / release.artifacts["onnx-web"].path


@pytest.mark.parametrize(
    ("family", "engine"),
    [*((family, engine) for family in FAMILIES for engine in ("node", "wasm")), ("Gemma 2", "webgpu")],
)
def test_the_pipeline_computes_what_our_driver_does(
    family: str, engine: Engine, tiny: Tiny, tmp_path: Path
) -> None:
    assert PREFILLED > WINDOW
    release = tiny.get(family)
    taken = taken_by(engine, release.directory, TOKENS, PREFILLED, tmp_path)
    expected = driver_logits(graph_of(release), TOKENS, PREFILLED)
    assert mean_kl(expected, taken.logits) < MEAN_KL_LIMIT
    if engine == "webgpu":
        assert taken.left_over == ()
        assert "swiftshader" in taken.device


def test_a_cache_that_lost_a_token_is_noticed(tiny: Tiny, tmp_path: Path) -> None:
    release = tiny.get("Gemma 3")
    shifted = np.concatenate([TOKENS[:PREFILLED], TOKENS[PREFILLED + 1 :], TOKENS[:1]])
    taken = taken_by("node", release.directory, TOKENS, PREFILLED, tmp_path)
    expected = driver_logits(graph_of(release), shifted, PREFILLED)
    assert mean_kl(expected, taken.logits) > 100 * MEAN_KL_LIMIT


@pytest.mark.parametrize("engine", ["node", "wasm"])
def test_a_release_that_cannot_be_opened_fails_with_what_was_said(
    engine: Engine, tiny: Tiny, tmp_path: Path
) -> None:
    release = tiny.get("Gemma 3").copy(tmp_path)
    graph_of(release).unlink()
    with pytest.raises(ExecutionFailed, match=r"transformers\.js.*ended with exit code 1.*printed last"):
        taken_by(engine, release.directory, TOKENS, PREFILLED, tmp_path)
