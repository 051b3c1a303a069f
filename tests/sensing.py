"""Named stand-ins that see and hear: a lowering whose archive holds towers too, a decoder in plain torch
that takes their rows.

As `tests.fakes` has them for text. The wrong decoders do each what goes wrong in a conversion. Not about
towers (`tests.seeing`, `tests.hearing`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

import numpy as np
import torch
from torch import Tensor

from exporter.formats.rows_driver import RowsDriver, RowsEncoder
from exporter.lowering.interface import LoweringOrder
from exporter.models.text.decoder import decode_embedded, embed, embed_per_layer
from exporter.models.text.eager import EagerDialect, EagerState
from exporter.models.text.spec import LayerSpec, ModelSpec
from exporter.models.vision.spec import BlockLayers
from exporter.progress import Progress
from exporter.reference.reference_tower import TowerSpec
from exporter.validation.findings import Findings
from exporter.validation.report import Gate
from exporter.validation.verdict import Failed
from runtimes.encoder import EncoderFacts
from runtimes.manifest import Artifact, EncoderArtifact
from runtimes.multimodal.session import PlacedRows, RowKind
from runtimes.session import Logits, Tokens
from tests.fakes import ARCHIVE, ArchiveLowering, EagerSession, dequantised, eager_driver, read_archive

Spec = TypeVar("Spec", bound=TowerSpec)
LONGEST_CALL = 400  # tokens with rows among them


class SensingLowering(ArchiveLowering):
    """Satisfies `Lowering` and `MakesTowerTwins`: one archive for text and towers, as a bundle is."""

    def lower(self, request: LoweringOrder, out: Path, progress: Progress) -> tuple[Artifact, ...]:
        (artifact,) = super().lower(request, out, progress)
        arrays: dict[str, Any] = read_archive(out / ARCHIVE)
        for tower in request.checkpoint.towers:
            arrays |= tower.vectors
        np.savez(out / ARCHIVE, **arrays)
        return (artifact,)

    def encoders(self, order: LoweringOrder) -> tuple[EncoderArtifact, ...]:
        width = order.checkpoint.components["text"].spec.hidden_size
        found = []
        if order.images is not None:
            soft = order.images.soft_tokens
            found.append(EncoderArtifact("vision", "onnx", ARCHIVE, ARCHIVE, soft, width))
        if order.sounds is not None:
            soft = order.sounds.soft_tokens
            found.append(EncoderArtifact("audio", "onnx", ARCHIVE, ARCHIVE, soft, width))
        return tuple(found)

    def tower_twin(self, release: Path, encoder: EncoderArtifact, out: Path) -> EncoderArtifact:
        arrays: dict[str, Any] = dequantised(read_archive(release / encoder.path))
        np.savez(out / encoder.path, **arrays)
        return encoder


class EagerArchive(Generic[Spec]):
    """A tower's numbers and its weights out of an archive: what an encoder in plain torch is, but rows."""

    def __init__(self, spec: Spec, weights: Mapping[str, Tensor]) -> None:
        self.spec, self.weights = spec, weights

    @classmethod
    def open(cls, path: Path, spec: Spec) -> Self:
        arrays = dequantised(read_archive(path))
        return cls(spec, {name: torch.from_numpy(values) for name, values in arrays.items()})

    @property
    def facts(self) -> EncoderFacts:
        return EncoderFacts("eager torch", torch.__version__, "fp32", {}, {})

    def close(self) -> None:
        """Nothing is held."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


@dataclass
class _BlockDialect(EagerDialect):
    """blocks: of each token of the call, the number of its image, -1 for what is none."""

    blocks: Tensor | None = None
    where: BlockLayers = "none"

    def seen(self, layer: LayerSpec, at: Tensor, positions: Tensor) -> Tensor:
        causal = super().seen(layer, at, positions)
        everywhere = self.where == "all" or (self.where == "sliding" and layer.window is not None)
        if self.blocks is None or not everywhere:
            return causal
        inside = positions - at[0]
        known = (inside >= 0) & (inside < len(self.blocks))
        of_keys = torch.where(known, self.blocks[inside.clamp(0, len(self.blocks) - 1)], -1)
        both = (self.blocks[:, None] == of_keys[None]) & (of_keys >= 0)[None]
        within = True if layer.window is None else at[:, None] - positions[None] < layer.window
        return causal | (both & within)


class EagerMultimodalSession(EagerSession):
    """Satisfies `MultimodalSession`; a call with rows is one call of the graph. blocks: layers in which the
    tokens of an image see each other."""

    blocks: BlockLayers
    both_ways: frozenset[RowKind] = frozenset({"image"})

    def reset(self) -> None:
        self._state = EagerState.empty(self.spec, self._facts.context, LONGEST_CALL)

    def prefill_with_rows(self, tokens: Tokens, placed: Sequence[PlacedRows]) -> Logits:
        given = torch.from_numpy(tokens.astype(np.int64))[None]
        blocks, looked_up = torch.full((len(tokens),), -1), given.clone()
        for number, each in enumerate(placed):
            looked_up[0, each.start : each.stop] = 0
            if each.of in self.both_ways:
                blocks[each.start : each.stop] = number
        ops = _BlockDialect(self.spec, self.weights, self._state, blocks=blocks, where=self.blocks)
        embedded = embed(self.spec, ops, looked_up).clone()
        for each in self.placed(placed):
            embedded[0, each.start : each.stop] = torch.as_tensor(each.rows)
        ple = self.spec.per_layer_embedding
        own = self.per_layer(looked_up, given)
        rows = None if ple is None else embed_per_layer(self.spec, ple, ops, own)
        with torch.no_grad():
            logits: Logits = decode_embedded(self.spec, ops, embedded, rows)[0].numpy()
        self._state.position += len(tokens)
        return logits if self._facts.prefill_logits == "all" else logits[-1:]

    def per_layer(self, looked_up: Tensor, given: Tensor) -> Tensor:
        """The ids whose per-layer rows are taken."""
        return looked_up

    def placed(self, placed: Sequence[PlacedRows]) -> Sequence[PlacedRows]:
        return placed


class Senseless(EagerMultimodalSession):
    """Puts nothing in the place of an image or a sound."""

    def placed(self, placed: Sequence[PlacedRows]) -> Sequence[PlacedRows]:
        return [replace(each, rows=each.rows * 0) for each in placed]


def eager_rows_driver(
    spec: ModelSpec,
    blocks: BlockLayers,
    open_encoder: Callable[[Path], RowsEncoder],
    session: type[EagerMultimodalSession] = EagerMultimodalSession,
) -> RowsDriver:
    """A driver that opens archives of this model. blocks: layers in which tokens of an image see each
    other."""

    def open_session(
        directory: Path, encoder: EncoderArtifact, artifact: Artifact
    ) -> EagerMultimodalSession:
        opened = session.open(directory / encoder.decoder, artifact, spec)
        opened.blocks = blocks
        return opened

    def open_tower(directory: Path, encoder: EncoderArtifact, artifact: Artifact) -> RowsEncoder:
        return open_encoder(directory / encoder.path)

    return RowsDriver(eager_driver(spec), open_tower, open_session)


def failed(findings: Findings) -> list[Gate]:
    """Gates that do not hold."""
    return [gate for gate in findings.gates if isinstance(gate.verdict, Failed)]


def statistics(gates: list[Gate]) -> set[str]:
    """What was held against their limits."""
    return {gate.statistic for gate in gates}
