"""Every family's decoder in LiteRT's operations, against the decoder in plain torch.

Matrix: the tiny model of each family x int8-channel weights, float twin (graph) and artifact (kernels),
chunked prefill then cached decode past the window. Not asserted: quality of quantisation, and bundles,
which hold the same graph. The plain decoder is itself compared with transformers elsewhere.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.planning.scheme import INT8_CHANNEL
from tests.tiny import TINY_CONFIGS
from tests.unit.exporter.lowering.litert.tiny_releases import (
    CHUNK,
    CONTEXT,
    EVERY_FORMAT,
    eager_logits,
    litert_logits,
    lowered,
    mean_kl,
    quantized,
    some_tokens,
)

PREFILLED = 2 * CHUNK + 5


@pytest.mark.parametrize("family", TINY_CONFIGS)
def test_the_graph_computes_what_the_decoder_does(family: str, tmp_path: Path) -> None:
    release = lowered(tmp_path, quantized(tmp_path, TINY_CONFIGS[family](), INT8_CHANNEL))
    tokens = some_tokens(CONTEXT)
    expected = eager_logits(release.checkpoint, tokens)[PREFILLED:]
    twin = EVERY_FORMAT.float_twin(release.directory, release.artifacts["tflite"], tmp_path)
    assert mean_kl(expected, litert_logits(tmp_path / twin.path, tokens, PREFILLED)) < 1e-6
    assert mean_kl(expected, litert_logits(release.path(), tokens, PREFILLED)) < 1e-5
