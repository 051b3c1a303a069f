"""`CheckpointSource`: a Gemma checkpoint, whatever files it lies in.

Not about quantisation. Concrete sources are siblings; `open_source` (in `exporter.checkpoints.open`)
picks one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from exporter.models.components import Components
from runtimes.images.processing import ImageProcessing
from runtimes.sounds.processing import SoundProcessing

Codes = NDArray[np.int8]  # [rows, in]
CodeScales = NDArray[np.float16] | NDArray[np.float32]  # [rows, groups]
Vector = NDArray[np.float32]  # [entries]


@dataclass(frozen=True)
class SourceTensor:
    """What is known of a tensor before its data is read.

    shape: as transformers has it. dtype: the source's own name for it ("BF16", "Q4_K").
    nbytes: bytes it takes in the source.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    nbytes: int


@dataclass(frozen=True)
class HeldCodes:
    """Integer codes a source stores for a matrix: value = code * scale, nothing added.

    bits: of a code. group: inputs that share a scale, None for one scale per row. scale_bits: 16 where
    IEEE half precision has every scale exactly, else 32. negative: scales may be below 0.
    """

    bits: int
    group: int | None
    scale_bits: int
    negative: bool


@dataclass(frozen=True)
class TokenFacts:
    """What the release must know of the vocabulary beside tokenizer.json.

    stop_tokens: ids that end a turn or the text, most usual first, the same for every format.
    chat_template: Jinja, or None. turn_end: the token the template ends an answer with, for runtimes that
    stop at one alone; None where there is none. written: all tokens that the template puts around text.
    remarks: how they were found where that is not plain, a sentence each.
    """

    bos_token: int
    eos_token: int
    pad_token: int
    stop_tokens: tuple[int, ...]
    chat_template: str | None
    turn_end: str | None = None
    remarks: tuple[str, ...] = ()
    written: frozenset[int] = frozenset()


class CheckpointSource(Protocol):
    """A checkpoint whose tensors carry canonical transformers names and are read lazily.

    Opening checks that the tensors are exactly the weights of its components; values come as float32,
    with norm weights as transformers keeps them (GGUF's added 1 is taken off again).
    """

    @property
    def components(self) -> Components:
        """What the model is made of."""
        ...

    @property
    def name(self) -> str:
        """A short name for reports and file names ("gemma-3-270m")."""
        ...

    @property
    def architecture(self) -> Mapping[str, Any]:
        """config.json of the text model, as transformers' config class reads it."""
        ...

    @property
    def tensors(self) -> Mapping[str, SourceTensor]:
        """Every weight of every component, by name."""
        ...

    @property
    def tokens(self) -> TokenFacts: ...

    @property
    def images(self) -> ImageProcessing | None:
        """How pictures are prepared for its image tower, None where it has none."""
        ...

    @property
    def sounds(self) -> SoundProcessing | None:
        """How sounds are prepared for its audio encoder, None where it has none."""
        ...

    @property
    def left_out(self) -> tuple[str, ...]:
        """Parts of the checkpoint that are no component here ("vision tower, 417 M parameters")."""
        ...

    @property
    def remarks(self) -> tuple[str, ...]:
        """What whoever releases it should know of how it was read, a sentence each; usually nothing."""
        ...

    @property
    def documents(self) -> Path | None:
        """A directory that holds the checkpoint's licence and notice, None where it came without."""
        ...

    @property
    def adapter(self) -> Path | None:
        """The directory of an adapter merged into it that may state a licence too, None for none."""
        ...

    def rows(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        """Rows start to stop of a matrix [rows, in], or entries of a vector [stop - start].

        Raises CheckpointError for data that cannot be read or is not finite.
        """
        ...

    @property
    def held(self) -> Mapping[str, HeldCodes]:
        """The matrices stored as codes that can be had as they are, by name; empty for float sources."""
        ...

    def codes(self, name: str, start: int, stop: int) -> tuple[Codes, CodeScales]:
        """Codes and scales of rows start to stop of a matrix in `held`; their product is what `rows` gives.

        Raises CheckpointError for data that cannot be read or scales that are not finite.
        """
        ...

    def digests(self) -> Mapping[str, str]:
        """File name to SHA-256 of every file the weights, numbers and tokenizer come from."""
        ...

    def write_tokenizer(self, directory: Path) -> None:
        """Write tokenizer.json and tokenizer_config.json. Raises TokenizerError where there is none."""
        ...
