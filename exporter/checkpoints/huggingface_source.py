"""`HuggingFaceSource`: a directory as the Hub lays it out: config.json, safetensors, tokenizer.json.

Not about GGUF, adapters or checkpoints that are quantised already. Pickle files (pytorch_model.bin)
are refused, not read: loading one runs whatever code it holds.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporter.checkpoints.byte_ranges import sha256
from exporter.checkpoints.checkpoint_directory import CheckpointDirectory
from exporter.checkpoints.interface import SourceTensor, TokenFacts
from exporter.checkpoints.safetensors_file import SafetensorsFile
from exporter.checkpoints.sentencepiece_model import read_sentencepiece
from exporter.checkpoints.tensor_set import require_exactly
from exporter.checkpoints.tensor_values import FLOAT_DTYPES, as_float32, require_finite
from exporter.checkpoints.token_facts import read_token_facts
from exporter.checkpoints.tokenizer_files import write_tokenizer_config, write_tokenizer_files
from exporter.errors import CheckpointError, TokenizerError
from exporter.models.config import load_config
from exporter.models.families import read_spec
from exporter.models.spec import ModelSpec

CONFIG, GENERATION_CONFIG = "config.json", "generation_config.json"
SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
TOKENIZER, SENTENCEPIECE = "tokenizer.json", "tokenizer.model"
TOKENIZER_CONFIG, CHAT_TEMPLATE = "tokenizer_config.json", "chat_template.jinja"
NUMBERS_AND_TOKENIZER = (
    CONFIG, GENERATION_CONFIG, INDEX, TOKENIZER, SENTENCEPIECE, TOKENIZER_CONFIG, CHAT_TEMPLATE,
)  # fmt: skip
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
HEAD = "lm_head.weight"
COMPARED_AT_ONCE = 8 << 20


@dataclass(frozen=True)
class HuggingFaceSource:
    """A `CheckpointSource` over a directory. `rows` reads just those rows of the one file they are in."""

    directory: CheckpointDirectory
    architecture: Mapping[str, Any]
    spec: ModelSpec
    tensors: Mapping[str, SourceTensor]
    files: Mapping[str, SafetensorsFile]  # canonical name to the file that holds it
    tokens: TokenFacts
    left_out: tuple[str, ...] = ()

    @staticmethod
    def open(path: Path) -> HuggingFaceSource:
        """Read configuration and headers and check them against each other. No weight is read but a
        stored copy of a tied head.

        Raises CheckpointError, SpecError or TokenizerError.
        """
        directory = CheckpointDirectory(path)
        config = load_config(path / CONFIG)
        if (quantised := config.get("quantization_config")) is not None:
            method = quantised.get("quant_method") if isinstance(quantised, dict) else quantised
            raise CheckpointError(
                path / CONFIG,
                f"the weights are quantised already (quant_method {method!r})",
                "give the unquantised checkpoint",
            )
        spec = read_spec(config, str(path / CONFIG))
        files = _weight_files(directory)
        _drop_copy_of_embedding(spec, files)
        stored = {
            name: SourceTensor(name, header.shape, header.dtype, header.nbytes)
            for name, file in files.items()
            for header in (file.tensors[name],)
        }
        tensors = require_exactly(spec, stored, FLOAT_DTYPES, path)
        if not directory.has(TOKENIZER) and not directory.has(SENTENCEPIECE):
            raise TokenizerError(
                path,
                f"there is no {TOKENIZER} and no {SENTENCEPIECE}",
                "fetch the checkpoint's tokenizer too",
            )
        return HuggingFaceSource(
            directory, config, spec, tensors, files, read_token_facts(directory, config)
        )

    @property
    def name(self) -> str:
        """The directory's name, or the repository's where it lies in the Hub's cache."""
        path = self.directory.path.absolute()
        repository = path.parent.parent.name.rpartition("--")[2] if path.parent.name == "snapshots" else ""
        plain = re.sub(r"[^a-z0-9.-]+", "-", (repository or path.resolve().name).lower()).strip("-.")
        return plain or "model"

    @property
    def documents(self) -> Path:
        return self.directory.path

    def rows(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        file, tensor = self.files[name], self.tensors[name]
        inner = tensor.shape[1:]
        row = tensor.nbytes // tensor.shape[0]
        raw = file.read_bytes(name, start * row, (stop - start) * row)
        values = as_float32(raw, tensor.dtype, f"{file.path}: {name}").reshape(stop - start, *inner)
        require_finite(values, file.path, name, start)
        return values

    def digests(self) -> Mapping[str, str]:
        return self._digests

    def write_tokenizer(self, directory: Path) -> None:
        if not self.directory.has(TOKENIZER):
            vocabulary = read_sentencepiece(self.directory.file(SENTENCEPIECE))
            write_tokenizer_files(vocabulary, self.tokens, directory)
            return
        pieces = _token_strings(self.directory.file(TOKENIZER), self.tokens)
        for name in (TOKENIZER, TOKENIZER_CONFIG, CHAT_TEMPLATE):
            if self.directory.has(name):
                shutil.copyfile(self.directory.file(name), directory / name)
        if not self.directory.has(TOKENIZER_CONFIG):
            write_tokenizer_config(*pieces, self.tokens.chat_template, directory)

    @cached_property
    def _digests(self) -> dict[str, str]:
        weights = {file.path.name for file in self.files.values()}
        others = {
            CONFIG,
            GENERATION_CONFIG,
            INDEX,
            TOKENIZER,
            SENTENCEPIECE,
            TOKENIZER_CONFIG,
            CHAT_TEMPLATE,
        }
        found = sorted(weights | {name for name in others if self.directory.has(name)})
        return {name: sha256(self.directory.file(name)) for name in found}


def _weight_files(directory: CheckpointDirectory) -> dict[str, SafetensorsFile]:
    """Tensor name to the file that holds it, for single-file and sharded checkpoints."""
    if directory.has(SINGLE):
        file = SafetensorsFile.open(directory.file(SINGLE))
        return dict.fromkeys(file.tensors, file)
    if directory.has(INDEX):
        return _sharded(directory)
    pickles = sorted(entry.name for entry in directory.path.iterdir() if entry.suffix in PICKLES)
    if pickles:
        raise CheckpointError(
            directory.path / pickles[0],
            "is a pickle, which runs code when it is loaded, and there are no safetensors beside it",
            "convert it with transformers' save_pretrained on a machine you can lose",
        )
    raise CheckpointError(
        directory.path, f"there is no {SINGLE} and no {INDEX}", "give a directory with safetensors weights"
    )


def _sharded(directory: CheckpointDirectory) -> dict[str, SafetensorsFile]:
    index = directory.path / INDEX
    placed = directory.json(INDEX).get("weight_map")
    if not isinstance(placed, dict) or not all(isinstance(shard, str) for shard in placed.values()):
        raise CheckpointError(index, "has no weight_map of names to files", "fetch it again")
    files: dict[str, SafetensorsFile] = {}
    paths = {shard: directory.file(shard) for shard in sorted(set(placed.values()))}
    for shard, path in paths.items():
        file = SafetensorsFile.open(path)
        listed = {name for name, home in placed.items() if home == shard}
        if astray := sorted(listed.symmetric_difference(file.tensors)):
            where = "is in the index but not there" if astray[0] in listed else "is not in the index"
            raise CheckpointError(
                file.path,
                f"tensor {astray[0]} {where}",
                "index and shard do not belong together, fetch both",
            )
        files |= dict.fromkeys(listed, file)
    return files


def _drop_copy_of_embedding(spec: ModelSpec, files: dict[str, SafetensorsFile]) -> None:
    """Forget a stored head where the embedding is tied, once it is known to be the same numbers."""
    head, embedding = files.get(HEAD), files.get(spec.embedding_name)
    if not spec.tied_embedding or head is None or embedding is None:
        return
    copy, original = head.tensors[HEAD], embedding.tensors[spec.embedding_name]
    same = (copy.dtype, copy.shape) == (original.dtype, original.shape)
    for at in range(0, copy.nbytes if same else 0, COMPARED_AT_ONCE):
        count = min(COMPARED_AT_ONCE, copy.nbytes - at)
        same = same and head.read_bytes(HEAD, at, count) == embedding.read_bytes(
            spec.embedding_name, at, count
        )
    if not same:
        raise CheckpointError(
            head.path,
            f"tensor {HEAD} differs from {spec.embedding_name}, and config.json says they are tied",
            "set tie_word_embeddings to false if the head was trained apart, or fetch the checkpoint again",
        )
    del files[HEAD]


def _token_strings(path: Path, tokens: TokenFacts) -> tuple[str, str, str]:
    """bos, eos and pad as tokenizer.json spells them; reading them proves that it can be read."""
    from tokenizers import Tokenizer  # here: it is needed for nothing else, and loads a native library

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises plain Exception
        raise TokenizerError(path, f"cannot be read as a tokenizer ({error})", "fetch it again") from error
    bos, eos, pad = (
        tokenizer.id_to_token(token) for token in (tokens.bos_token, tokens.eos_token, tokens.pad_token)
    )
    if bos is None or eos is None or pad is None:
        raise TokenizerError(
            path, "does not have the bos, eos or pad token config.json names", "fetch both again"
        )
    return bos, eos, pad
