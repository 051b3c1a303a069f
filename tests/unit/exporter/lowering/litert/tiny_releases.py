"""Tiny models lowered to LiteRT, and what they compute."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from exporter.lowering.interface import Segment
from exporter.lowering.litert.lowering import LiteRtLowering
from exporter.lowering.litert.twin.float_twin import LiteRtTwin
from exporter.quantization.store.checkpoint import QuantizedCheckpoint
from runtimes.litert.session import LiteRtSession
from runtimes.session import Logits, Tokens
from tests import tiny_releases
from tests.tiny_releases import CHUNK, CONTEXT, eager_logits, mean_kl, quantized, some_tokens

__all__ = [  # what tests of the driver and of families use of both modules
    "CHUNK",
    "CONTEXT",
    "EVERY_FORMAT",
    "TinyRelease",
    "eager_logits",
    "litert_logits",
    "lowered",
    "mean_kl",
    "quantized",
    "some_tokens",
    "twin_logits",
]

EVERY_FORMAT = LiteRtLowering()


class TinyRelease(tiny_releases.TinyRelease):
    """With a file for each of LiteRT's formats."""

    def path(self, form: str = "tflite") -> Path:
        return self.directory / self.artifacts[form].path


def lowered(
    directory: Path, checkpoint: QuantizedCheckpoint, lowering: LiteRtLowering = EVERY_FORMAT
) -> TinyRelease:
    return TinyRelease.lower(directory, checkpoint, lowering)


def litert_logits(path: Path, tokens: Tokens, prefilled: int) -> Logits:
    """Logits of the tokens behind a prefill, decoded one by one: [tokens - prefilled, vocab]."""
    with LiteRtSession.open(path) as session:
        session.prefill(tokens[:prefilled])
        return np.stack([session.decode(int(token)) for token in tokens[prefilled:]])


def twin_logits(twin: LiteRtTwin, tokens: Tokens, prefilled: int) -> Logits:
    """`litert_logits` of a float twin."""
    segments = (Segment("prefill", prefilled), Segment("decode", len(tokens) - prefilled))
    found = list(twin.run(segments, tokens, lambda done: None))
    assert [at + i for at, rows in found for i in range(len(rows))] == list(range(prefilled, len(tokens)))
    return np.concatenate([rows for _, rows in found])
