"""`LoraSource`: a checkpoint with a PEFT LoRA adapter merged into it, row range by row range.

What peft merges exactly is merged as peft merges it, in float32; the rest is refused by name. Not about
how: `adapter_config` reads adapter_config.json, `assembly` fits the tensors to the base, `merged_weights`
computes, `beside` takes the tokenizer.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporter.checkpoints.adapters.adapter_config import CONFIG_NAME, AdapterConfig, read_adapter_config
from exporter.checkpoints.adapters.assembly import Merge, assemble
from exporter.checkpoints.adapters.beside import Beside
from exporter.checkpoints.derived_source import DerivedSource
from exporter.checkpoints.files.checkpoint_directory import CheckpointDirectory
from exporter.checkpoints.files.hub_layout import CONFIG
from exporter.checkpoints.files.safetensors_file import SafetensorsFile
from exporter.checkpoints.files.tensor_values import require_finite
from exporter.checkpoints.interface import CheckpointSource, SourceTensor, TokenFacts
from exporter.errors import CheckpointError
from exporter.models.components import Components, towers_of
from exporter.models.text.spec import ModelSpec

WEIGHTS_NAME, PICKLE_NAME = "adapter_model.safetensors", "adapter_model.bin"
ADAPTER_FILES = (CONFIG_NAME, WEIGHTS_NAME, PICKLE_NAME)


@dataclass(frozen=True)
class LoraSource(DerivedSource):
    """A `CheckpointSource` whose adapted weights are the base's as the adapter leaves them."""

    directory: CheckpointDirectory
    merge: Merge
    beside: Beside | None  # None where adapter and base lie in one directory

    @staticmethod
    def open(base: CheckpointSource, path: Path) -> LoraSource:
        """Read an adapter directory and check it against its base. Every number of it is read once.

        Raises CheckpointError for an adapter that peft would not merge exactly, that is not the base's,
        holds numbers that are not finite, or changes nothing; TokenizerError for its tokenizer.
        """
        directory = CheckpointDirectory(path)
        config = require_adapter(directory)
        merge = assemble(base, _spec(base), config, SafetensorsFile.open(directory.file(WEIGHTS_NAME)))
        together = base.documents is not None and base.documents.resolve() == path.resolve()
        beside = None if together else Beside.read(directory, base, merge.spec.vocab_size)
        return LoraSource(base, directory, merge, beside)

    @property
    def name(self) -> str:
        return f"{self.base.name}-{self.directory.name}"

    @property
    def adapter(self) -> Path | None:
        return None if self.beside is None else self.directory.path

    @property
    def components(self) -> Components:
        text = replace(self.base.components["text"], spec=self.merge.spec)
        return replace(self.base.components, text=text)

    @property
    def architecture(self) -> Mapping[str, Any]:
        spec = self.merge.spec
        changed: dict[str, Any] = {
            "vocab_size": spec.vocab_size,
            "tie_word_embeddings": spec.tied_embedding,
        }
        tokens, base = self.tokens, self.base.tokens
        if tokens.bos_token != base.bos_token:
            changed["bos_token_id"] = tokens.bos_token
        if (tokens.eos_token, tokens.stop_tokens) != (base.eos_token, base.stop_tokens):
            changed["eos_token_id"] = list(tokens.stop_tokens)
        return {**self.base.architecture, **changed}

    @cached_property
    def tensors(self) -> Mapping[str, SourceTensor]:
        found = {}
        for weight in self.merge.spec.weights():
            tensor = self.base.tensors.get(weight.name)
            if tensor is None or tensor.shape != weight.shape:  # the adapter's, or a head that was tied
                nbytes = 4 * int(np.prod(weight.shape))
                tensor = SourceTensor(weight.name, weight.shape, "F32", nbytes)
            found[weight.name] = tensor
        of_towers = (weight for tower in towers_of(self.base.components) for weight in tower.weights)
        return found | {weight.name: self.base.tensors[weight.name] for weight in of_towers}

    @property
    def tokens(self) -> TokenFacts:
        return self.base.tokens if self.beside is None else self.beside.tokens

    @property
    def left_out(self) -> tuple[str, ...]:
        return (*self.base.left_out, *self.merge.left_out)

    @property
    def remarks(self) -> tuple[str, ...]:
        beside = () if self.beside is None else tuple(self.beside.remarks())
        return (*self.base.remarks, *self.merge.remarks, *beside)

    @property
    def rewritten(self) -> Collection[str]:
        return self.merge.weights.keys()

    def rows(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        changed = self.merge.weights.get(name)
        if changed is None:
            return self.base.rows(name, start, stop)
        values = changed.rows(start, stop)
        require_finite(values, self.directory.path, name, start)
        return values

    def digests(self) -> Mapping[str, str]:
        beside = () if self.beside is None else self.beside.taken
        own = self.directory.digests((CONFIG_NAME, WEIGHTS_NAME, *beside))
        return {**self.base.digests(), **{f"adapter/{name}": digest for name, digest in own.items()}}

    def write_tokenizer(self, directory: Path) -> None:
        if self.beside is None:
            self.base.write_tokenizer(directory)
        else:
            self.beside.write_tokenizer(directory)


def _spec(base: CheckpointSource) -> ModelSpec:
    return base.components["text"].spec


def refuse_adapter_beside(path: Path, adapter: Path | None) -> None:
    """Raise CheckpointError for a model's directory that holds an adapter too, or nothing but one, unless
    `adapter` says to merge it."""
    there = [name for name in ADAPTER_FILES if (path / name).exists()]
    if not there or (adapter is not None and adapter.resolve() == path.resolve()):
        return
    if not (path / CONFIG).exists():
        raise CheckpointError(
            path / there[0],
            "is an adapter, and there is no model beside it",
            f"give the model it was trained on, and --adapter {path}",
        )
    raise CheckpointError(
        path / there[0],
        "an adapter lies beside the model, which would be exported without it",
        f"give --adapter {path} to merge it, or put it elsewhere to export the model alone",
    )


def require_adapter(directory: CheckpointDirectory) -> AdapterConfig:
    """What an adapter says of itself. Raises CheckpointError for what is none, whatever its base is."""
    if not directory.has(CONFIG_NAME):
        model = directory.has(CONFIG)
        raise CheckpointError(
            directory.path / CONFIG_NAME,
            "no such file" + (": this is a model's directory" if model else ""),
            "give a PEFT adapter directory (adapter_config.json and weights)",
        )
    if not directory.has(WEIGHTS_NAME) and directory.has(PICKLE_NAME):
        raise CheckpointError(
            directory.path / PICKLE_NAME,
            "is a pickle, which can run code when it is read",
            f"save the adapter again as {WEIGHTS_NAME} (peft's default)",
        )
    return read_adapter_config(directory)
