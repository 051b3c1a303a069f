"""Our LiteRT graph against the one litert-torch converts from the same decoder, on one tiny model.

Not asserted here: agreement with transformers (tests/contracts/test_lowering.py), integer weights, caches.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from exporter.lowering.litert.lowering import LiteRtLowering
from exporter.models.text.decoder import decode
from exporter.models.text.eager import EagerDialect, EagerState, effective_weights
from exporter.models.text.rotary import inverse_frequencies, rotate
from exporter.models.text.spec import LayerSpec, ModelSpec
from exporter.schemes import FP32
from runtimes.litert.session import LiteRtSession
from tests.fakes import silent
from tests.tiny import RandomSource, tiny_gemma3
from tests.tiny_releases import lowering_order, quantized_source

TOKENS = np.random.default_rng(11).integers(6, 260, 24).astype(np.int32)
CLOSE = 1e-3  # max abs of logits


class CachelessDialect(EagerDialect):
    """Attention over the tokens of the call alone: a graph without state, which any converter takes."""

    def attend(self, layer: LayerSpec, q: Tensor, k: Tensor | None, v: Tensor | None) -> Tensor:
        assert k is not None
        assert v is not None
        count = q.shape[1]
        at = torch.arange(count)
        angles = at[:, None].float() * inverse_frequencies(layer.rope, layer.head_dim)
        cos, sin = (torch.cat([part] * 2, dim=-1)[:, None] for part in (angles.cos(), angles.sin()))
        group = layer.heads // layer.kv_heads
        queries = rotate(q, cos, sin).transpose(1, 2)
        keys = torch.cat(
            [rotate(k, cos, sin)[:, :, i : i + 1] for i in range(layer.kv_heads) for _ in range(group)], 2
        )
        values = torch.cat([v[:, :, i : i + 1] for i in range(layer.kv_heads) for _ in range(group)], 2)
        distance = at[:, None] - at[None]
        seen = (distance >= 0) & (distance < (layer.window or count))
        bias = torch.where(seen, 0.0, -1e4)
        scores = queries @ keys.permute(0, 2, 3, 1) * self.spec.query_scale + bias
        attended = torch.softmax(scores, dim=-1) @ values.transpose(1, 2)
        return attended.transpose(1, 2).reshape(1, count, layer.heads * layer.head_dim)


class Whole(nn.Module):
    """The decoder over a whole sequence, weights inside."""

    def __init__(self, spec: ModelSpec, weights: dict[str, Tensor]) -> None:
        super().__init__()
        self.spec, self.weights = spec, weights

    def forward(self, tokens: Tensor) -> Tensor:
        return decode(self.spec, CachelessDialect(self.spec, self.weights, EagerState({})), tokens)


def test_litert_torch_converts_the_decoder_to_the_same_logits(tmp_path: Path) -> None:
    import litert_torch

    source = RandomSource(tiny_gemma3())
    stored = {name: torch.from_numpy(values) for name, values in source.weights.items()}
    spec = source.components["text"].spec
    module = Whole(spec, effective_weights(spec, stored)).eval()
    theirs = litert_torch.convert(module, (torch.from_numpy(TOKENS)[None],))(
        torch.from_numpy(TOKENS)[None]
    )[0]

    request = lowering_order(quantized_source(tmp_path, source, FP32), tmp_path)
    (artifact,) = LiteRtLowering(frozenset({"tflite"})).lower(request, tmp_path, silent)
    with LiteRtSession.open(tmp_path / artifact.path) as session:
        ours = np.stack([session.decode(int(token)) for token in TOKENS])
    np.testing.assert_allclose(ours, np.asarray(theirs), atol=CLOSE)
