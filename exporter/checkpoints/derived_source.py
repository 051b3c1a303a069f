"""`DerivedSource`: a checkpoint made from another, its weights changed as they are read.

Hands on everything that is not about weights; a concrete source says what `rows` gives and what makes
its identity (`digests`). Not a source by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporter.checkpoints.interface import CheckpointSource, SourceTensor, TokenFacts
from exporter.models.spec import ModelSpec


@dataclass(frozen=True)
class DerivedSource:
    """All of `CheckpointSource` but `rows` and `digests`, answered by `base`."""

    base: CheckpointSource

    @property
    def spec(self) -> ModelSpec:
        return self.base.spec

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
    def left_out(self) -> tuple[str, ...]:
        return self.base.left_out

    @property
    def documents(self) -> Path | None:
        return self.base.documents

    def write_tokenizer(self, directory: Path) -> None:
        self.base.write_tokenizer(directory)
