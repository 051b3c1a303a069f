"""The toy's lowering: every matrix as float32, the gains, and the architecture, in one `.npz`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporter.lowering.interface import Lowering, LoweringOrder, StoredRows
from exporter.progress import Progress
from runtimes.formats import Format
from runtimes.manifest import Artifact, EncoderArtifact
from tests.toy_runtime.family import TOY_FORMAT

ARCHIVE = "model.npz"
MATRIX, GAIN, ARCHITECTURE = "matrix:", "gain:", "architecture"


class ToyLowering:
    """Satisfies `Lowering`."""

    def lower(self, order: LoweringOrder, out: Path, progress: Progress) -> tuple[Artifact, ...]:
        checkpoint = order.checkpoint
        architecture = json.dumps(checkpoint.record["architecture"]).encode()
        arrays: dict[str, NDArray[Any]] = {ARCHITECTURE: np.frombuffer(architecture, np.uint8)}
        arrays |= {GAIN + name: values for name, values in checkpoint.components["text"].gains().items()}
        for name, matrix in checkpoint.matrices.items():
            arrays[MATRIX + name] = matrix.values(0, matrix.shape[0])
        np.savez(out / ARCHIVE, **arrays)  # type: ignore[arg-type]  # its stub takes a bool for any keyword
        return (
            Artifact(
                component="text",
                format=TOY_FORMAT,
                path=ARCHIVE,
                context=order.context,
                vocab_size=checkpoint.components["text"].spec.vocab_size,
                prefill_chunk=order.prefill_chunk,
                prefill_logits=order.prefill_logits,
            ),
        )

    def encoders(self, order: LoweringOrder) -> tuple[EncoderArtifact, ...]:
        return ()

    def read_back(self, release: Path, artifact: Artifact) -> Iterator[StoredRows]:
        with np.load(release / artifact.path) as archive:
            for name in archive.files:
                if name.startswith(MATRIX):
                    yield StoredRows(name.removeprefix(MATRIX), 0, None, None, archive[name])

    def float_twin(self, release: Path, artifact: Artifact, out: Path) -> Artifact:
        """The artifact itself: all it holds is floats."""
        (out / artifact.path).symlink_to((release / artifact.path).resolve())
        return artifact


def make_lowering(formats: frozenset[Format]) -> Lowering:
    return ToyLowering()
