"""From the decoder to an ONNX graph without weights: every stored tensor is still an input of it.

Traced under fake tensors, so memory is one trace at any model size. Not about giving the stored
tensors their bytes (`external_data`) or tidying the graph (`graph_cleanup`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv

from exporter.lowering.onnx.dialect import OnnxDialect
from exporter.lowering.onnx.stored_tensors import StoredTensor
from exporter.models.decoder import decode
from exporter.models.spec import ModelSpec
from exporter.quantization.checkpoint import Matrix

OPSET = 23  # the first with RMSNormalization
# Sizes of the example call. Distinct and above 1, so that none is taken for a constant or another.
EXAMPLE_TOKENS, EXAMPLE_PAST = 7, 5


@dataclass(frozen=True)
class GraphRequest:
    """What the graph is to compute: the model, how its matrices are stored, what comes out."""

    spec: ModelSpec
    matrices: Mapping[str, Matrix]
    context: int
    all_logits: bool


@dataclass(frozen=True)
class TracedDecoder:
    """The graph, and the stored tensors that are its inputs, by name in order of first use."""

    model: ir.Model
    stored: Mapping[str, StoredTensor]


def trace(request: GraphRequest) -> TracedDecoder:
    """Trace the decoder.

    Inputs: input_ids [1, tokens], attention_mask [1, past + tokens], past_key_values.i.{key,value}
    [1, kv_heads, past, head_dim] of the i-th layer that owns a cache, then every stored tensor.
    Outputs: logits, present.i.{key,value}.
    """
    with _fake_tensors():
        calls = _example_call(request.spec)
        stored = _tensors_used(request, calls)
        placeholders = [torch.empty(t.shape, dtype=getattr(torch, t.dtype)) for t in stored.values()]
        dynamic = torch.export.Dim.DYNAMIC
        pasts = [({2: dynamic}, {2: dynamic}) for _ in request.spec.cache_layers]
        program = torch.export.export(
            _Forward(request, list(stored)),
            (*calls, placeholders),
            dynamic_shapes=({1: dynamic}, {1: dynamic}, pasts, [None] * len(placeholders)),
            strict=False,
        )
    owners = range(len(request.spec.cache_layers))
    exported = torch.onnx.export(
        program,
        dynamo=True,
        input_names=[
            "input_ids",
            "attention_mask",
            *(f"past_key_values.{i}.{part}" for i in owners for part in ("key", "value")),
            *stored,
        ],
        output_names=["logits", *(f"present.{i}.{part}" for i in owners for part in ("key", "value"))],
        opset_version=OPSET,
        optimize=False,
        verbose=False,
    )
    assert exported is not None  # torch returns None for the old exporter only
    return TracedDecoder(exported.model, stored)


class _Forward(torch.nn.Module):
    """One call of the decoder as a function of tokens, mask, caches and stored tensors."""

    def __init__(self, request: GraphRequest, names: list[str]) -> None:
        super().__init__()
        self.request, self.names = request, names

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        pasts: list[tuple[Tensor, Tensor]],
        stored: list[Tensor],
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        by_name = dict(zip(self.names, stored, strict=True))
        ops = _dialect(self.request, attention_mask, pasts, lambda tensor: by_name[tensor.name])
        logits = decode(self.request.spec, ops, input_ids)
        return logits, list(ops.presents.values())


def _dialect(
    request: GraphRequest, mask: Tensor, pasts: list[tuple[Tensor, Tensor]], resolve: Any
) -> OnnxDialect:
    total = mask.shape[1]
    return OnnxDialect(
        spec=request.spec,
        matrices=request.matrices,
        context=request.context,
        all_logits=request.all_logits,
        pasts={
            layer.index: past for layer, past in zip(request.spec.cache_layers, pasts, strict=True)
        },
        last_key=(mask.sum(dim=1) - 1).to(torch.int32),
        total=torch.full((1,), total, dtype=torch.int32),
        total_length=total,
        resolve=resolve,
    )


def _tensors_used(request: GraphRequest, calls: tuple[Any, ...]) -> dict[str, StoredTensor]:
    """One run of the decoder that only notes what it asks for."""
    used: dict[str, StoredTensor] = {}

    def note(tensor: StoredTensor) -> Tensor:
        known = used.setdefault(tensor.name, tensor)
        assert known == tensor, f"two stored tensors are called {tensor.name}"
        return torch.empty(tensor.shape, dtype=getattr(torch, tensor.dtype))

    tokens, mask, pasts = calls
    decode(request.spec, _dialect(request, mask, pasts, note), tokens)
    return used


def _example_call(spec: ModelSpec) -> tuple[Tensor, Tensor, list[tuple[Tensor, Tensor]]]:
    def cache(kv_heads: int, head_dim: int) -> Tensor:
        return torch.empty(1, kv_heads, EXAMPLE_PAST, head_dim)

    pasts = [
        (cache(layer.kv_heads, layer.head_dim), cache(layer.kv_heads, layer.head_dim))
        for layer in spec.cache_layers
    ]
    tokens = torch.zeros(1, EXAMPLE_TOKENS, dtype=torch.int64)
    return tokens, torch.ones(1, EXAMPLE_PAST + EXAMPLE_TOKENS, dtype=torch.int64), pasts


@contextmanager
def _fake_tensors() -> Iterator[None]:
    # torch.export may lift a small real constant; it must not be refused.
    with FakeTensorMode(shape_env=ShapeEnv(), allow_non_fake_inputs=True):
        yield
