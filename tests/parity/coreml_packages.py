"""Tiny packages the Core ML tests share, one per family, each built once; every scheme is in some."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from exporter.lowering.coreml.lowering import CoreMlLowering
from exporter.lowering.interface import LoweringOrder
from exporter.models.text.spec import Role, WeightSpec
from exporter.quantization.quantize import write_quantized
from exporter.quantization.store.checkpoint import QuantizedCheckpoint
from exporter.schemes import FP16, INT4_CHANNEL, INT4_G32, INT8_CHANNEL, Scheme
from runtimes.manifest import Artifact
from runtimes.session import Logits, Tokens
from tests import tiny_releases
from tests.fakes import silent as silent  # Core ML's tests take it from here
from tests.tiny import (
    RandomSource,
    tiny_gemma1,
    tiny_gemma2,
    tiny_gemma3,
    tiny_gemma4_12b,
    tiny_gemma4_e2b,
)
from tests.tiny_releases import lowering_order

CONTEXT = 64
TOKENS = np.random.default_rng(1).integers(6, 262, 56).astype(np.int32)
TEMPLATE = "{{ messages }}"


def short_e2b() -> dict[str, Any]:
    """tiny_gemma4_e2b with ten layers, five of which share caches: enough, and sooner converted."""
    whole = tiny_gemma4_e2b()
    return {
        **whole,
        "num_hidden_layers": 10,
        "layer_types": whole["layer_types"][:10],
        "num_kv_shared_layers": 5,
    }


def untied_gemma1() -> dict[str, Any]:
    """tiny_gemma1 with a head of its own."""
    return {**tiny_gemma1(), "tie_word_embeddings": False}


def two_layers() -> dict[str, Any]:
    """tiny_gemma3 with a sliding layer and a full one: where a test is not about depth."""
    return {
        **tiny_gemma3(),
        "num_hidden_layers": 2,
        "layer_types": ["sliding_attention", "full_attention"],
    }


@dataclass(frozen=True)
class Case:
    """A family's config, and schemes of its linears and of everything else."""

    config: Mapping[str, Any]
    linears: Scheme
    others: Scheme

    def scheme(self, weight: WeightSpec) -> Scheme:
        return self.linears if weight.role is Role.LINEAR else self.others


CASES = {
    "Gemma 1": Case(untied_gemma1(), FP16, FP16),
    "Gemma 2": Case(tiny_gemma2(), INT4_CHANNEL, INT8_CHANNEL),
    "Gemma 3": Case(tiny_gemma3(), INT4_G32, INT8_CHANNEL),
    "Gemma 4 E2B": Case(short_e2b(), INT8_CHANNEL, INT8_CHANNEL),
    "Gemma 4 12B": Case(tiny_gemma4_12b(), INT4_G32, INT8_CHANNEL),
}


@dataclass(frozen=True)
class Lowered:
    """A written package, what it was made from, and the directory that keeps both while this lives."""

    release: Path
    artifact: Artifact
    checkpoint: QuantizedCheckpoint
    directory: tempfile.TemporaryDirectory[str]

    @property
    def package(self) -> Path:
        return self.release / self.artifact.path


@functools.cache
def lowered(family: str) -> Lowered:
    """The package of a family, built when first asked for."""
    return lower(CASES[family])


def lower(case: Case, context: int = CONTEXT) -> Lowered:
    """Quantise and lower a case."""
    directory = tempfile.TemporaryDirectory()
    root = Path(directory.name)
    checkpoint = quantized(RandomSource(case.config), case, root / "quantized")
    release = root / "release"
    release.mkdir()
    request = request_for(checkpoint, root, context)
    (artifact,) = CoreMlLowering().lower(request, release, silent)
    return Lowered(release, artifact, checkpoint, directory)


def quantized(source: RandomSource, case: Case, directory: Path) -> QuantizedCheckpoint:
    schemes = {
        weight.name: case.scheme(weight) for weight in source.components["text"].weights if weight.is_matrix
    }
    return write_quantized(source, schemes, directory, silent)


def request_for(checkpoint: QuantizedCheckpoint, tokenizer: Path, context: int = CONTEXT) -> LoweringOrder:
    return lowering_order(
        checkpoint, tokenizer, context=context, prefill_chunk=min(20, context), chat_template=TEMPLATE
    )


def eager_logits(checkpoint: QuantizedCheckpoint, tokens: Tokens = TOKENS) -> Logits:
    """Logits of tokens from the eager decoder on the dequantised weights, [tokens, vocab]."""
    return tiny_releases.eager_logits(checkpoint, tokens)
