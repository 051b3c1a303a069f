"""Tiny models lowered to ONNX, what they should compute, and how far off something is."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from exporter.lowering.interface import LoweringRequest
from exporter.lowering.onnx.lowering import OnnxLowering
from exporter.models.eager import EagerState, run_eagerly
from exporter.models.spec import Role
from exporter.planning.scheme import INT8_CHANNEL, FloatScheme, Scheme
from exporter.quantization.checkpoint import QuantizedCheckpoint
from exporter.quantization.writer import write_quantized
from runtimes.manifest import Artifact
from runtimes.onnx.session import OnnxSession
from runtimes.session import Logits, Tokens
from tests.fakes import silent
from tests.tiny import RandomSource, write_tiny_tokenizer

CONTEXT, CHUNK = 72, 16  # the last chunk is shorter than the others
LOWERING = OnnxLowering()


@dataclass(frozen=True)
class TinyRelease:
    """A lowered tiny model."""

    directory: Path
    checkpoint: QuantizedCheckpoint
    artifact: Artifact

    @property
    def path(self) -> Path:
        return self.directory / self.artifact.path

    def copy(self, directory: Path) -> TinyRelease:
        """The same release elsewhere, to be damaged there."""
        copied = directory / "copied"
        shutil.copytree(self.directory, copied)
        return TinyRelease(copied, self.checkpoint, self.artifact)


def quantized(directory: Path, config: Mapping[str, Any], linears: Scheme) -> QuantizedCheckpoint:
    """A tiny checkpoint; embeddings and heads are int8-channel beside integer linears, as in recipes."""
    source = RandomSource(config)
    other = linears if isinstance(linears, FloatScheme) else INT8_CHANNEL
    schemes = {
        weight.name: linears if weight.role is Role.LINEAR else other
        for weight in source.spec.weights()
        if weight.is_matrix
    }
    return write_quantized(source, schemes, directory / "quantised", silent)


def request(checkpoint: QuantizedCheckpoint, tokenizer: Path, **changes: Any) -> LoweringRequest:
    write_tiny_tokenizer(tokenizer)
    plain: dict[str, Any] = {
        "checkpoint": checkpoint,
        "context": CONTEXT,
        "prefill_chunk": CHUNK,
        "prefill_logits": "last",
        "tokenizer": tokenizer,
        "bos_token": 2,
        "stop_tokens": (1, 5),
        "chat_template": "{{ bos_token }}",
    }
    return LoweringRequest(**{**plain, **changes})


def lowered(directory: Path, checkpoint: QuantizedCheckpoint, **changes: Any) -> TinyRelease:
    release = directory / "release"
    release.mkdir()
    (artifact,) = LOWERING.lower(request(checkpoint, directory, **changes), release, silent)
    return TinyRelease(release, checkpoint, artifact)


def some_tokens(count: int) -> Tokens:
    return np.random.default_rng(5).integers(6, 262, count).astype(np.int32)


def eager_logits(checkpoint: QuantizedCheckpoint, tokens: Tokens) -> Logits:
    """Logits of the decoder in plain torch on the checkpoint's dequantised weights, [tokens, vocab]."""
    weights = {
        name: torch.from_numpy(matrix.values(0, matrix.shape[0]))
        for name, matrix in checkpoint.matrices.items()
    }
    gains = {name: torch.from_numpy(values) for name, values in checkpoint.gains().items()}
    state = EagerState.empty(checkpoint.spec, len(tokens), len(tokens))
    ids = torch.from_numpy(tokens.astype(np.int64))
    logits: Logits = run_eagerly(checkpoint.spec, {**weights, **gains}, state, ids).numpy()
    return logits


def onnx_logits(path: Path, tokens: Tokens, prefilled: int) -> Logits:
    """Logits of the last prefilled token, or all of them as the graph gives, and of every token decoded
    after: [kept + tokens - prefilled, vocab]."""
    with OnnxSession(path, threads=1) as session:
        prefill = session.prefill(tokens[:prefilled])
        return np.stack([*prefill, *(session.decode(int(token)) for token in tokens[prefilled:])])


def twin_logits(release: TinyRelease, scratch: Path, tokens: Tokens, prefilled: int) -> Logits:
    """Logits of the release's float twin for every token, [tokens, vocab]."""
    twin = LOWERING.float_twin(release.directory, release.artifact, scratch)
    assert twin.prefill_logits == "all"
    return onnx_logits(scratch / twin.path, tokens, prefilled)


def mean_kl(expected: Logits, found: Logits) -> float:
    """Mean KL divergence over positions, nats, in float64."""
    assert expected.shape == found.shape
    p, q = _log_softmax(expected), _log_softmax(found)
    return float((np.exp(p) * (p - q)).sum(-1).mean())


def _log_softmax(logits: Logits) -> NDArray[np.float64]:
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)), np.float64)
