"""Tiny models lowered to ONNX, and what they compute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from exporter.lowering.interface import Segment
from exporter.lowering.onnx.lowering import OnnxLowering
from exporter.quantization.store.checkpoint import QuantizedCheckpoint
from runtimes.manifest import Artifact
from runtimes.onnx.session import OnnxSession
from runtimes.session import Logits, Tokens
from tests import tiny_releases
from tests.tiny_releases import CHUNK, CONTEXT, eager_logits, mean_kl, quantized, some_tokens

__all__ = [  # what tests of the driver and of families use of both modules
    "CHUNK",
    "CONTEXT",
    "LOWERING",
    "TinyRelease",
    "eager_logits",
    "lowered",
    "mean_kl",
    "onnx_logits",
    "quantized",
    "some_tokens",
    "twin_logits",
]

LOWERING = OnnxLowering(frozenset({"onnx"}))


class TinyRelease(tiny_releases.TinyRelease):
    """With the one artifact ONNX has."""

    @property
    def artifact(self) -> Artifact:
        (artifact,) = self.artifacts.values()
        return artifact

    @property
    def path(self) -> Path:
        return self.directory / self.artifact.path


def lowered(directory: Path, checkpoint: QuantizedCheckpoint, **changes: Any) -> TinyRelease:
    return TinyRelease.lower(directory, checkpoint, LOWERING, **changes)


def onnx_logits(path: Path, tokens: Tokens, prefilled: int) -> Logits:
    """Logits of the last prefilled token, or all of them as the graph gives, and of every token decoded
    after: [kept + tokens - prefilled, vocab]."""
    with OnnxSession(path, threads=1) as session:
        prefill = session.prefill(tokens[:prefilled])
        return np.stack([*prefill, *(session.decode(int(token)) for token in tokens[prefilled:])])


def twin_logits(release: TinyRelease, scratch: Path, tokens: Tokens, prefilled: int) -> Logits:
    """Logits of the release's float twin for every token, [tokens, vocab]."""
    twin = LOWERING.float_twin(release.directory, release.artifact, scratch)
    assert twin.facts.prefill_logits == "all"
    route = (Segment("prefill", prefilled), Segment("decode", len(tokens) - prefilled))
    return np.concatenate([rows for _, rows in twin.run(route, tokens, lambda done: None)])
