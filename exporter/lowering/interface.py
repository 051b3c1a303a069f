"""`Lowering`: what every runtime's lowering offers the pipeline.

Not about any runtime: concrete lowerings are in sibling packages and do not import each other.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from exporter.errors import LoweringError
from exporter.formats.family import RuntimeFamily
from exporter.progress import Progress
from exporter.quantization.store.checkpoint import QuantizedCheckpoint
from runtimes.images.processing import ImageProcessing
from runtimes.manifest import Artifact, EncoderArtifact
from runtimes.session import Logits, PrefillLogits, SessionFacts, Tokens
from runtimes.sounds.processing import SoundProcessing


@dataclass(frozen=True)
class MadeFrom:
    """What an artifact says of the model it was made from, where its format has room for that.

    name: a repository of the Hub, or what the checkpoint is called. licence: its title. version: of what
    made the artifact.
    """

    name: str
    licence: str
    version: str


@dataclass(frozen=True)
class ImageOrder:
    """What to build for images, where the checkpoint has a tower for them.

    processing: the release's own description of what is done to a picture before it enters the tower, and
    of the soft tokens that come out of it at most.
    """

    processing: ImageProcessing

    @property
    def soft_tokens(self) -> int:
        return self.processing.soft_tokens


@dataclass(frozen=True)
class SoundOrder:
    """What to build for sounds, where the checkpoint has an encoder for them.

    processing: the release's own description of what is done to a sound before it enters the encoder, and
    of the soft tokens that come out of it at most.
    """

    processing: SoundProcessing

    @property
    def soft_tokens(self) -> int:
        return self.processing.soft_tokens


@dataclass(frozen=True)
class LoweringOrder:
    """What to build, beside the weights.

    context: positions the KV cache holds. prefill_chunk: tokens per prefill call where the runtime
    wants it static. prefill_logits: positions a prefill returns logits for, where there is a choice.
    tokenizer: directory with tokenizer.json (and tokenizer_config.json) to put beside the graph.
    stop_tokens: ids that end generation. chat_template: Jinja source, None where the model has none.
    turn_end: the token it ends an answer with, None where it writes none. made_from: what is said of it.
    images, sounds: None for a decoder that takes none, whatever the checkpoint holds.
    """

    checkpoint: QuantizedCheckpoint
    context: int
    prefill_chunk: int
    prefill_logits: PrefillLogits
    tokenizer: Path
    bos_token: int
    stop_tokens: tuple[int, ...]
    chat_template: str | None
    turn_end: str | None
    made_from: MadeFrom
    images: ImageOrder | None = None
    sounds: SoundOrder | None = None

    def require_carried_by(self, family: RuntimeFamily) -> None:
        """Raise LoweringError for a matrix in a scheme that a runtime does not carry."""
        for name, matrix in self.checkpoint.matrices.items():
            if not family.carries(matrix.scheme):
                raise LoweringError(
                    name,
                    f"{family.title} cannot carry scheme {matrix.scheme.name}",
                    f"choose a recipe of {', '.join(sorted(family.schemes))}",
                )


@dataclass(frozen=True)
class StoredRows:
    """Rows of one weight as read back from a written artifact.

    codes: [rows, in] int8. scales: [rows, groups] float32. Both None and `values` set for floats.
    zero_points: [rows, groups] int8, None for floats and symmetric schemes.
    """

    weight: str
    start: int
    codes: NDArray[np.int8] | None
    scales: NDArray[np.float32] | None
    values: NDArray[np.float32] | None
    zero_points: NDArray[np.int8] | None = None


Call = Literal["prefill", "decode"]


@dataclass(frozen=True)
class Segment:
    """Tokens given by one kind of call."""

    call: Call
    tokens: int


class RouteRunner(Protocol):
    """What takes a whole text at once, segment by segment, and so need not hold a whole model."""

    @property
    def facts(self) -> SessionFacts: ...

    def run(
        self, segments: Sequence[Segment], tokens: Tokens, tell: Callable[[int], None]
    ) -> Generator[tuple[int, Logits]]:
        """Take tokens from position 0 on, as many as the segments have.

        Yields (position of the first row, logits [n, vocab]) in order of position, for what a `Session`
        with the same facts would return. tell: called with tokens done. Raises what a session raises,
        and LoweringError where a twin cannot be made.
        """
        ...


class Lowering(Protocol):
    """One runtime's way from the quantised checkpoint to an artifact.

    What it can carry is its family's to say (`exporter.formats`).
    """

    def lower(self, order: LoweringOrder, out: Path, progress: Progress) -> tuple[Artifact, ...]:
        """Write the artifact(s) under the existing directory `out`; paths in the result are relative
        to it. Peak memory is one trace plus a few row chunks. Raises LoweringError."""
        ...

    def encoders(self, order: LoweringOrder) -> tuple[EncoderArtifact, ...]:
        """The towers that `lower` writes for this order beside or into its artifacts; none where it orders
        no images, or where no format of this runtime takes any."""
        ...

    def read_back(self, release: Path, artifact: Artifact) -> Iterator[StoredRows]:
        """Every matrix as the written file holds it, chunk by chunk, read from its bytes alone. An artifact
        whose path is a tower's is read too."""
        ...

    def float_twin(self, release: Path, artifact: Artifact, out: Path) -> Artifact | RouteRunner:
        """Derive from the written artifact the same graph with dequantised float weights, under
        `out`: an artifact to be run as the original is, its path relative to `out`, or what runs itself
        (and uses `out` while it does). Used by validation only, never shipped."""
        ...


@runtime_checkable
class MakesTowerTwins(Protocol):
    """A lowering whose image towers have a float twin that its driver opens as it does the tower."""

    def tower_twin(self, release: Path, encoder: EncoderArtifact, out: Path) -> EncoderArtifact:
        """Derive from the written tower the same graph with dequantised float weights, under `out`; its
        path is relative to that. Raises LoweringError."""
        ...


@runtime_checkable
class RefusesMedia(Protocol):
    """A lowering whose artifacts, or their clients, do not all that may be done to pictures or sounds."""

    def require_media(self, images: ImageOrder | None, sounds: SoundOrder | None) -> None:
        """Raise LoweringError for what no artifact can be made for."""
        ...
