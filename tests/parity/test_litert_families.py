"""Every family's decoder in LiteRT's operations, against the decoder in plain torch.

Matrix: the tiny model of each family x int8-channel weights x .tflite, and .litertlm where it holds another
graph (Gemma 4 E: embedders); float twin (graph) and artifact (kernels), chunked prefill then cached decode
past the window. Not asserted: quality of quantisation. The plain decoder is itself compared with
transformers elsewhere.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.schemes import INT8_CHANNEL
from tests.tiny import TINY_CONFIGS, RandomSource
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
    twin_logits,
)

PREFILLED = 2 * CHUNK + 5


CASES = [(family, "tflite") for family in TINY_CONFIGS] + [
    (family, "litertlm") for family in ("Gemma 4 E2B", "Gemma 4 E4B")
]


@pytest.mark.parametrize(("family", "form"), CASES)
def test_the_graph_computes_what_the_decoder_does(family: str, form: str, tmp_path: Path) -> None:
    release = lowered(tmp_path, quantized(tmp_path, TINY_CONFIGS[family](), INT8_CHANNEL))
    tokens = some_tokens(CONTEXT)
    expected = eager_logits(release.checkpoint, tokens)[PREFILLED:]
    twin = EVERY_FORMAT.float_twin(release.directory, release.artifacts[form], tmp_path)
    assert mean_kl(expected, twin_logits(twin, tokens, PREFILLED)) < 1e-6
    assert mean_kl(expected, litert_logits(release.path(form), tokens, PREFILLED)) < 1e-5


def test_only_models_with_a_per_layer_embedding_have_embedders() -> None:
    embedded = {
        family
        for family, config in TINY_CONFIGS.items()
        if RandomSource(config()).spec.per_layer_embedding is not None
    }
    assert embedded == {family for family, form in CASES if form == "litertlm"}
