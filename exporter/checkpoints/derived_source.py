"""`DerivedSource`: a checkpoint made from another, its weights changed as they are read.

Hands on everything that is not about weights; a concrete source says what `rows` gives, which matrices
that changes (`rewritten`) and what makes its identity (`digests`). Not a source by itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporter.checkpoints.interface import (
    CheckpointSource,
    Codes,
    CodeScales,
    HeldCodes,
    SourceTensor,
    TokenFacts,
)
from exporter.models.components import Components
from runtimes.images.processing import ImageProcessing
from runtimes.sounds.processing import SoundProcessing


@dataclass(frozen=True)
class DerivedSource(ABC):
    """All of `CheckpointSource` but `rows` and `digests`, answered by `base`."""

    base: CheckpointSource

    @property
    @abstractmethod
    def rewritten(self) -> Collection[str]:
        """Matrices whose values are not the base's; codes of the others can still be taken over."""

    @property
    def components(self) -> Components:
        return self.base.components

    @property
    def name(self) -> str:
        return self.base.name

    @property
    def architecture(self) -> Mapping[str, Any]:
        return self.base.architecture

    @property
    def tensors(self) -> Mapping[str, SourceTensor]:
        return self.base.tensors

    @property
    def tokens(self) -> TokenFacts:
        return self.base.tokens

    @property
    def images(self) -> ImageProcessing | None:
        return self.base.images

    @property
    def sounds(self) -> SoundProcessing | None:
        return self.base.sounds

    @property
    def left_out(self) -> tuple[str, ...]:
        return self.base.left_out

    @property
    def remarks(self) -> tuple[str, ...]:
        return self.base.remarks

    @property
    def documents(self) -> Path | None:
        return self.base.documents

    @property
    def adapter(self) -> Path | None:
        return self.base.adapter

    @property
    def held(self) -> Mapping[str, HeldCodes]:
        return {name: held for name, held in self.base.held.items() if name not in self.rewritten}

    def codes(self, name: str, start: int, stop: int) -> tuple[Codes, CodeScales]:
        return self.base.codes(name, start, stop)

    def write_tokenizer(self, directory: Path) -> None:
        self.base.write_tokenizer(directory)
