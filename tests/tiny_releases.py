"""Tiny models, quantised and lowered: what tests of every runtime make, feed and expect.

Not about any one runtime: its own module says which lowering is run and how its artifact is read.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from exporter.lowering.interface import Lowering, LoweringOrder, MadeFrom
from exporter.models.text.eager import EagerState, run_eagerly
from exporter.models.text.spec import Role
from exporter.quantization.quantize import write_quantized
from exporter.quantization.store.checkpoint import QuantizedCheckpoint
from exporter.schemes import INT8_CHANNEL, FloatScheme, Scheme
from runtimes.manifest import Artifact
from runtimes.session import Logits, Tokens
from tests.fakes import silent
from tests.tiny import RandomSource, tiny_gemma3, write_tiny_tokenizer

MADE_FROM = MadeFrom("owner/tiny-gemma", "Gemma Terms of Use", "gemma-export 0")
CONTEXT, CHUNK = 72, 16  # not a multiple: the last chunk is short, or does not fit padded


@dataclass(frozen=True)
class TinyRelease:
    """A lowered tiny model. artifacts: by format."""

    directory: Path
    checkpoint: QuantizedCheckpoint
    artifacts: Mapping[str, Artifact]

    @classmethod
    def lower(
        cls, directory: Path, checkpoint: QuantizedCheckpoint, lowering: Lowering, **changes: Any
    ) -> Self:
        """Lower into `release` of a directory, which gets the tokenizer. changes: to the request."""
        release = directory / "release"
        release.mkdir()
        artifacts = lowering.lower(lowering_order(checkpoint, directory, **changes), release, silent)
        return cls(release, checkpoint, {artifact.format: artifact for artifact in artifacts})

    def copy(self, directory: Path) -> Self:
        """The same release elsewhere, to be damaged there."""
        copied = directory / "copied"
        shutil.copytree(self.directory, copied)
        return replace(self, directory=copied)


def release_fixture(lowered: Callable[[Path, QuantizedCheckpoint], TinyRelease], linears: Scheme) -> object:
    """A fixture for a conftest: the tiny Gemma 3 with these linears, lowered once for its package."""

    @pytest.fixture(scope="package")
    def release(tmp_path_factory: pytest.TempPathFactory) -> TinyRelease:
        directory = tmp_path_factory.mktemp(linears.name)
        return lowered(directory, quantized(directory, tiny_gemma3(), linears))

    return release


def quantized(directory: Path, config: Mapping[str, Any], linears: Scheme) -> QuantizedCheckpoint:
    """A tiny checkpoint; embeddings and heads are int8-channel beside integer linears, as in recipes."""
    return quantized_source(directory, RandomSource(config), linears)


def quantized_source(directory: Path, source: RandomSource, linears: Scheme) -> QuantizedCheckpoint:
    """`quantized` of weights a test has changed."""
    others = linears if isinstance(linears, FloatScheme) else INT8_CHANNEL
    schemes = {
        weight.name: linears if weight.role is Role.LINEAR else others
        for weight in source.components["text"].weights
        if weight.is_matrix
    }
    return write_quantized(source, schemes, directory / "quantised", silent)


def lowering_order(checkpoint: QuantizedCheckpoint, tokenizer: Path, **changes: Any) -> LoweringOrder:
    """An order for a checkpoint, whose tokenizer is written into that directory first."""
    write_tiny_tokenizer(tokenizer)
    plain = LoweringOrder(
        checkpoint=checkpoint,
        context=CONTEXT,
        prefill_chunk=CHUNK,
        prefill_logits="last",
        tokenizer=tokenizer,
        bos_token=2,
        stop_tokens=(1, 5),
        chat_template="{{ bos_token }}",
        turn_end=None,
        made_from=MADE_FROM,
    )
    return replace(plain, **changes)


def some_tokens(count: int) -> Tokens:
    """Byte tokens, always the same."""
    return np.random.default_rng(5).integers(6, 262, count).astype(np.int32)


def eager_logits(checkpoint: QuantizedCheckpoint, tokens: Tokens) -> Logits:
    """Logits of the decoder in plain torch on the checkpoint's dequantised weights, [tokens, vocab]."""
    weights = {
        name: torch.from_numpy(matrix.values(0, matrix.shape[0]))
        for name, matrix in checkpoint.matrices.items()
    }
    text = checkpoint.components["text"]
    gains = {name: torch.from_numpy(values) for name, values in text.gains().items()}
    state = EagerState.empty(text.spec, len(tokens), len(tokens))
    ids = torch.from_numpy(tokens.astype(np.int64))
    logits: Logits = run_eagerly(text.spec, {**weights, **gains}, state, ids).numpy()
    return logits


def mean_kl(expected: Logits, found: Logits) -> float:
    """Mean KL divergence over positions, nats, in float64."""
    assert expected.shape == found.shape
    p, q = _log_softmax(expected), _log_softmax(found)
    return float((np.exp(p) * (p - q)).sum(-1).mean())


def _log_softmax(logits: Logits) -> NDArray[np.float64]:
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)), np.float64)
