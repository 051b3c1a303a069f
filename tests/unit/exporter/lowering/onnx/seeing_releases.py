"""Tiny ONNX releases that take images, and pictures for them.

Not about what should come of those (`tests.whole_models` has transformers' own).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from exporter.lowering.interface import ImageOrder, StoredRows
from exporter.lowering.onnx.lowering import OnnxLowering
from exporter.models.vision.spec import VisionSpec
from exporter.quantization.store.checkpoint import IntegerMatrix, Matrix, QuantizedCheckpoint
from runtimes.encoder import EncodedRows
from runtimes.formats import Format
from runtimes.manifest import Artifact, EncoderArtifact
from runtimes.multimodal.session import PlacedRows
from runtimes.opening import EncoderOpening
from runtimes.session import Tokens
from tests.fakes import silent
from tests.seen_pictures import held_weights, processing_of
from tests.tiny_image_stores import TEXT_CONFIGS, tiny_image_store
from tests.tiny_releases import lowering_order, some_tokens
from tests.tiny_towers import SOFT
from tests.whole_models import HeldWeights

CONTEXT, CHUNK = 96, 16


@dataclass(frozen=True)
class SeeingRelease:
    """A release in one format of ONNX. text: transformers' configuration of its text model."""

    kind: str
    text: dict[str, Any]
    checkpoint: QuantizedCheckpoint
    directory: Path
    artifact: Artifact
    encoder: EncoderArtifact

    @property
    def spec(self) -> VisionSpec:
        return self.checkpoint.components["vision"].spec

    @property
    def opening(self) -> EncoderOpening:
        return EncoderOpening(self.directory, self.encoder, self.artifact, 2, "fp32")

    @property
    def weights(self) -> HeldWeights:
        """What the store holds, as numbers, for transformers' modules."""
        return held_weights(self.checkpoint, self.kind, self.text)


def seeing_release(
    directory: Path, kind: str, format: Format = "onnx", scheme: str = "int8-channel", **changes: Any
) -> SeeingRelease:
    """changes: to the order."""
    checkpoint = tiny_image_store(directory, kind, scheme)
    lowering = OnnxLowering(frozenset({format}))
    usual: dict[str, Any] = {
        "context": CONTEXT,
        "prefill_chunk": CHUNK,
        "prefill_logits": "all",
        "images": ImageOrder(processing_of(checkpoint.components["vision"].spec)),
    }
    order = replace(lowering_order(checkpoint, directory), **(usual | changes))
    release = directory / f"release-{format}"
    release.mkdir()
    (artifact,) = lowering.lower(order, release, silent)
    (encoder,) = lowering.encoders(order)
    return SeeingRelease(kind, TEXT_CONFIGS[kind](), checkpoint, release, artifact, encoder)


def prompt(
    starts: Sequence[int], rows: Sequence[EncodedRows], length: int
) -> tuple[Tokens, list[PlacedRows]]:
    """Tokens with images from these places on."""
    tokens = some_tokens(length).copy()
    images = [PlacedRows(start, each) for start, each in zip(starts, rows, strict=True)]
    for image in images:
        tokens[image.start : image.stop] = SOFT
    return tokens, images


def require_all_back(found: Iterator[StoredRows], matrices: Mapping[str, Matrix]) -> None:
    """Rows read back of a tower are all of these matrices, in order, with the numbers they have."""
    rows = dict.fromkeys(matrices, 0)
    for stored in found:
        matrix, start = matrices[stored.weight], stored.start
        assert start == rows[stored.weight]
        numbers = stored.values if stored.codes is None else stored.codes
        assert numbers is not None
        stop = rows[stored.weight] = start + len(numbers)
        if isinstance(matrix, IntegerMatrix):
            np.testing.assert_array_equal(stored.codes, matrix.codes(start, stop))
            np.testing.assert_array_equal(stored.scales, matrix.scales(start, stop))
        else:
            np.testing.assert_array_equal(stored.values, matrix.values(start, stop))
    assert rows == {name: matrix.shape[0] for name, matrix in matrices.items()}
