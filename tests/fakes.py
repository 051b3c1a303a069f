"""Named stand-ins: a lowering whose artifact is one NumPy archive, and a session that runs it eagerly.

They satisfy `Lowering` and `Session` honestly (the twin is made from the artifact's bytes, the session
chunks and caches), so that validation can be tested in a blink and made to fail where it must. They
import `exporter.models`, never a vendor runtime.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray

from exporter.errors import LoweringError
from exporter.formats.family import Driver
from exporter.formats.onnx import ONNX
from exporter.lowering.interface import LoweringOrder, RouteRunner, Segment, StoredRows
from exporter.models.text.eager import EagerState, run_eagerly
from exporter.models.text.spec import ModelSpec
from exporter.progress import Progress
from exporter.quantization.store.checkpoint import IntegerMatrix
from exporter.validation.routes import SessionRunner
from runtimes.errors import ArtifactError, SessionError
from runtimes.manifest import Artifact, EncoderArtifact
from runtimes.session import Logits, PrefillLogits, SessionFacts, Tokens

ARCHIVE = "model.npz"
CODES, SCALES = ":codes", ":scales"


def silent(what: str, done: int, total: int) -> None:
    """A `Progress` that tells nobody."""


class ArchiveLowering:
    """Satisfies `Lowering`: codes, scales, values and gains of the checkpoint in one .npz."""

    def lower(self, request: LoweringOrder, out: Path, progress: Progress) -> tuple[Artifact, ...]:
        arrays: dict[str, NDArray[Any]] = dict(request.checkpoint.components["text"].gains())
        for name, matrix in request.checkpoint.matrices.items():
            rows = matrix.shape[0]
            if isinstance(matrix, IntegerMatrix):
                arrays[name + CODES] = matrix.codes(0, rows)
                arrays[name + SCALES] = matrix.scales(0, rows).astype(np.float32)
            else:
                arrays[name] = matrix.values(0, rows)
        np.savez(out / ARCHIVE, **arrays)  # type: ignore[arg-type]  # its stub takes a bool for any keyword
        vocab = request.checkpoint.components["text"].spec.vocab_size
        return (
            Artifact(
                "text",
                "onnx",
                ARCHIVE,
                request.context,
                vocab,
                request.prefill_chunk,
                request.prefill_logits,
            ),
        )

    def encoders(self, order: LoweringOrder) -> tuple[EncoderArtifact, ...]:
        return ()

    def read_back(self, release: Path, artifact: Artifact) -> Iterator[StoredRows]:
        arrays = read_archive(release / artifact.path)
        for key, values in arrays.items():
            if key.endswith(CODES):
                name = key.removesuffix(CODES)
                yield StoredRows(name, 0, values, arrays[name + SCALES], None)
            elif not key.endswith(SCALES):
                yield StoredRows(key, 0, None, None, values)

    def float_twin(self, release: Path, artifact: Artifact, out: Path) -> Artifact | RouteRunner:
        arrays = dequantised(read_archive(release / artifact.path))
        np.savez(out / artifact.path, **arrays)  # type: ignore[arg-type]  # as above
        return artifact


class TwinlessLowering(ArchiveLowering):
    """Cannot make a float twin."""

    def float_twin(self, release: Path, artifact: Artifact, out: Path) -> Artifact:
        raise LoweringError(artifact.path, "holds operations without a float form", "report it")


class SelfTwinLowering(ArchiveLowering):
    """Its artifact is its own float twin, as Core ML's is."""

    def float_twin(self, release: Path, artifact: Artifact, out: Path) -> Artifact:
        (out / artifact.path).symlink_to((release / artifact.path).resolve())
        return artifact


class SelfRunningTwinLowering(ArchiveLowering):
    """Its float twin takes whole routes itself, as LiteRT's does. error: what its run ends in."""

    def __init__(self, spec: ModelSpec, error: Exception | None = None) -> None:
        self.spec, self.error = spec, error

    def float_twin(self, release: Path, artifact: Artifact, out: Path) -> SelfRunningTwin:
        return SelfRunningTwin(
            EagerSession.open(release / artifact.path, artifact, self.spec), out, self.error
        )


class SelfRunningTwin:
    """Satisfies `RouteRunner`; a file in its directory says that it ran."""

    def __init__(self, session: EagerSession, directory: Path, error: Exception | None) -> None:
        self.session, self.directory, self.error = session, directory, error

    @property
    def facts(self) -> SessionFacts:
        return self.session.facts

    def run(
        self, segments: Sequence[Segment], tokens: Tokens, tell: Callable[[int], None]
    ) -> Generator[tuple[int, Logits]]:
        (self.directory / "ran").touch()
        yield from SessionRunner(self.session).run(segments, tokens, tell)
        if self.error is not None:
            raise self.error


class EagerSession:
    """Satisfies `Session` with the decoder in plain torch over an archive's weights."""

    def __init__(self, spec: ModelSpec, weights: Mapping[str, torch.Tensor], facts: SessionFacts) -> None:
        self.spec, self.weights, self._facts = spec, weights, facts
        self.closed = False
        self.reset()

    @classmethod
    def open(cls, path: Path, artifact: Artifact, spec: ModelSpec) -> Self:
        arrays = dequantised(read_archive(path))
        facts = SessionFacts(
            runtime="eager torch",
            version=torch.__version__,
            arithmetic="fp32",
            vocab_size=spec.vocab_size,
            context=artifact.context,
            prefill_chunk=artifact.prefill_chunk,
            prefill_logits=artifact.prefill_logits,
        )
        return cls(spec, {name: torch.from_numpy(values) for name, values in arrays.items()}, facts)

    @property
    def facts(self) -> SessionFacts:
        return self._facts

    @property
    def position(self) -> int:
        return self._state.position

    def reset(self) -> None:
        self._state = EagerState.empty(self.spec, self._facts.context, self._facts.prefill_chunk)

    def prefill(self, tokens: Tokens) -> Logits:
        pieces = np.split(tokens, range(self._facts.prefill_chunk, len(tokens), self._facts.prefill_chunk))
        logits = np.concatenate([self._run(piece) for piece in pieces])
        kept = {"all": len(tokens), "last": 1, "none": 0}[self._facts.prefill_logits]
        return logits[len(tokens) - kept :]

    def decode(self, token: int) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = self._run(np.array([token], np.int32))[0]
        return logits

    def close(self) -> None:
        self.closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _run(self, tokens: Tokens) -> Logits:
        if self.closed or self.position + len(tokens) > self._facts.context:
            raise SessionError("the session is closed or its context exceeded")
        ids = torch.from_numpy(tokens.astype(np.int64))
        logits: Logits = run_eagerly(self.spec, self.weights, self._state, ids).numpy()
        return logits


class NotANumberSession(EagerSession):
    """Returns NaN from its fifth token on."""

    def _run(self, tokens: Tokens) -> Logits:
        logits = super()._run(tokens)
        logits[np.arange(self.position - len(tokens), self.position) >= 4] = np.nan
        return logits


class ForgetfulSession(EagerSession):
    """Decoding after a prefill loses the last chunk's keys: right by either route alone."""

    def prefill(self, tokens: Tokens) -> Logits:
        logits = super().prefill(tokens)
        self._lose_keys = True
        return logits

    def decode(self, token: int) -> NDArray[np.float32]:
        if getattr(self, "_lose_keys", False):
            for cache in self._state.caches.values():
                cache.keys[:, :, (self.position - 1) % cache.keys.shape[2]] = 0
            self._lose_keys = False
        return super().decode(token)


def eager_driver(spec: ModelSpec, session: type[EagerSession] = EagerSession) -> Driver:
    """A driver that opens archives of this model, with the limits of ONNX's own."""

    def opened(directory: Path, artifact: Artifact) -> EagerSession:
        return session.open(directory / artifact.path, artifact, spec)

    return replace(ONNX.drivers[0], open=opened)


def read_archive(path: Path) -> dict[str, NDArray[Any]]:
    """Every array of an archive. Raises ArtifactError for one that is damaged."""
    try:
        with np.load(path) as archive:
            return dict(archive)
    except (OSError, ValueError, BadZipFile) as error:
        raise ArtifactError(f"{path}: is damaged ({error}); write it again") from error


def dequantised(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
    """Codes times scales, by name; float arrays as they are."""
    found = {}
    for key, values in arrays.items():
        if key.endswith(CODES):
            name = key.removesuffix(CODES)
            scales = arrays[name + SCALES]
            grouped = values.astype(np.float32).reshape(len(values), scales.shape[1], -1)
            found[name] = (grouped * scales[:, :, None]).reshape(values.shape)
        elif not key.endswith(SCALES):
            found[key] = values
    return found


def change_archive(path: Path, name: str, at: tuple[int, ...], factor: float) -> None:
    """Multiply one number of an archive, as a damaged writer would have."""
    arrays = read_archive(path)
    arrays[name][at] *= factor
    np.savez(path, **arrays)  # type: ignore[arg-type]  # as above


def another_rope(spec: ModelSpec) -> ModelSpec:
    """The model with the RoPE base of its full layers doubled."""
    return replace(
        spec,
        layers=tuple(
            layer
            if layer.window is not None
            else replace(layer, rope=replace(layer.rope, theta=2 * layer.rope.theta))
            for layer in spec.layers
        ),
    )


def another_mask(spec: ModelSpec) -> ModelSpec:
    """The model with sliding windows one token longer: the classic off by one."""
    return replace(
        spec,
        layers=tuple(
            layer if layer.window is None else replace(layer, window=layer.window + 1)
            for layer in spec.layers
        ),
    )


def another_norm(spec: ModelSpec) -> ModelSpec:
    """The model with a norm's epsilon ten thousand times as large."""
    return replace(spec, norm_eps=1e4 * spec.norm_eps)


FAKE_PREFILLS: tuple[PrefillLogits, ...] = ("all", "last", "none")
