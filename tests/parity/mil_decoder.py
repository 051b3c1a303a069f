"""A tiny stateful decoder in torch, and its conversion by coremltools: what a real package looks like.

Two layers, grouped queries, caches in two states written at a runtime position, causality derived
from the inputs' shapes, a sliding window in the first layer, RMS norms written as layer norms over
[x, -x]. Not the product's decoder: the evaluator is compared with torch alone here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import coremltools as ct
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

VOCAB, WIDTH, HEADS, KV_HEADS, HEAD, LAYERS = 64, 32, 4, 2, 8, 2
CONTEXT, WINDOW, CHUNK = 24, 4, 8


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.q = nn.Linear(WIDTH, HEADS * HEAD, bias=False)
        self.k = nn.Linear(WIDTH, KV_HEADS * HEAD, bias=False)
        self.v = nn.Linear(WIDTH, KV_HEADS * HEAD, bias=False)
        self.o = nn.Linear(HEADS * HEAD, WIDTH, bias=False)
        self.up = nn.Linear(WIDTH, 2 * WIDTH, bias=False)
        self.down = nn.Linear(2 * WIDTH, WIDTH, bias=False)


class Decoder(nn.Module):
    """forward: inputIds [1, S], causalMask [1, 1, S, E] → logits [1, S, VOCAB]."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(11)
        self.embed = nn.Embedding(VOCAB, WIDTH)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        shape = (LAYERS, 1, KV_HEADS, CONTEXT, HEAD)
        self.register_buffer("keyCache", torch.zeros(shape))
        self.register_buffer("valueCache", torch.zeros(shape))
        self.keyCache: Tensor
        self.valueCache: Tensor
        for parameter in self.parameters():  # exactly what a package of fp16 weights holds
            parameter.data = (parameter.data * 1.5).half().float()

    def forward(self, inputIds: Tensor, causalMask: Tensor) -> Tensor:
        length, end = inputIds.shape[1], causalMask.shape[-1]
        past = end - length
        rows = torch.arange(CONTEXT)[past:end, None]
        columns = torch.arange(CONTEXT)[None, :end]
        causal = (columns > rows).float() * -1e4
        window = (rows - columns >= WINDOW).float() * -1e4
        x = self.embed(inputIds)
        for i, layer in enumerate(self.layers):
            assert isinstance(layer, Layer)
            h = _norm(x)
            q = layer.q(h).view(1, length, HEADS, HEAD).transpose(1, 2)
            k = layer.k(h).view(1, length, KV_HEADS, HEAD).transpose(1, 2)
            v = layer.v(h).view(1, length, KV_HEADS, HEAD).transpose(1, 2)
            self.keyCache[i, :, :, past:end, :] = k
            self.valueCache[i, :, :, past:end, :] = v
            keys, values = self.keyCache[i, :, :, :end, :], self.valueCache[i, :, :, :end, :]
            mask = causalMask + causal + (window if i == 0 else 0.0)
            attended = functional.scaled_dot_product_attention(
                q, _repeat(keys), _repeat(values), attn_mask=mask
            )
            x = x + layer.o(attended.transpose(1, 2).reshape(1, length, HEADS * HEAD))
            x = x + layer.down(functional.gelu(layer.up(_norm(x)), approximate="tanh"))
        return functional.linear(_norm(x), self.embed.weight)

    def logits(self, tokens: list[int]) -> Any:
        """Logits of every position, the whole text at once."""
        ids = torch.tensor([tokens], dtype=torch.int32)
        with torch.no_grad():
            logits: Tensor = self(ids, torch.zeros(1, 1, len(tokens), len(tokens)))
        return logits[0].float().numpy()


def _norm(x: Tensor) -> Tensor:
    both = functional.layer_norm(torch.cat([x, -x], -1), (2 * WIDTH,), eps=1e-5)
    return both[..., :WIDTH]


def _repeat(heads: Tensor) -> Tensor:
    groups = HEADS // KV_HEADS
    return heads.unsqueeze(2).repeat(1, 1, groups, 1, 1).view(1, HEADS, -1, HEAD)


def convert(decoder: Decoder) -> Any:
    """The decoder as coremltools converts it: an ML Program, fp16, two states, ranged inputs."""
    example = (torch.zeros((1, 3), dtype=torch.int32), torch.zeros((1, 1, 3, 5)))
    traced = torch.jit.trace(  # type: ignore[no-untyped-call]  # torch.jit has no types
        decoder, example, check_trace=False
    )
    length, end = ct.RangeDim(1, CHUNK, default=3), ct.RangeDim(1, CONTEXT, default=5)
    state = ct.TensorType(shape=(LAYERS, 1, KV_HEADS, CONTEXT, HEAD), dtype=np.float16)
    return ct.convert(
        traced,
        inputs=[
            ct.TensorType("inputIds", shape=(1, length), dtype=np.int32),
            ct.TensorType("causalMask", shape=(1, 1, length, end), dtype=np.float16),
        ],
        states=[ct.StateType(wrapped_type=state, name=n) for n in ("keyCache", "valueCache")],
        outputs=[ct.TensorType("logits", dtype=np.float16)],
        minimum_deployment_target=ct.target.iOS18,
        compute_precision=ct.precision.FLOAT16,
        skip_model_load=True,
    )


def save(model: Any, path: Path) -> Path:
    model.save(str(path))
    return path
