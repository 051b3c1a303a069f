"""Every family's decoder in ONNX Runtime's operators, against the decoder in plain torch.

Matrix: the tiny model of each family x int8-channel weights, float twin (graph) and artifact (kernels),
chunked prefill then cached decode past the window; and onnxruntime-genai's greedy tokens against our
driver's. Not asserted: quality of quantisation. The plain decoder is itself compared with transformers
elsewhere.
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
    eager_logits,
    lowered,
    mean_kl,
    onnx_logits,
    quantized,
    some_tokens,
    twin_logits,
)

PREFILLED = 2 * CHUNK + 5


@pytest.fixture(scope="module", params=TINY_CONFIGS)
def release(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TinyRelease:
    directory = tmp_path_factory.mktemp("family")
    return lowered(directory, quantized(directory, TINY_CONFIGS[request.param](), INT8_CHANNEL))


def test_the_graph_computes_what_the_decoder_does(release: TinyRelease, tmp_path: Path) -> None:
    tokens = some_tokens(CONTEXT)
    expected = eager_logits(release.checkpoint, tokens)
    assert mean_kl(expected, twin_logits(release, tmp_path, tokens, PREFILLED)) < 1e-6
    assert mean_kl(expected[PREFILLED - 1 :], onnx_logits(release.path, tokens, PREFILLED)) < 1e-5


@pytest.mark.parametrize(("prompt", "length"), [(PREFILLED, CONTEXT), (6, WINDOW - 2)])
def test_genai_generates_what_our_driver_does(release: TinyRelease, prompt: int, length: int) -> None:
    tokens = some_tokens(prompt).tolist()
    found = genai_tokens(release.path.parent, tokens, length)
    assert found
    assert found == driver_tokens(release.path, tokens, len(found))
