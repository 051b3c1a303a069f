"""`GgufSource`: a Gemma in GGUF, whole or in parts, block-quantised or not, as canonical float32 rows.

Values are what the file's blocks stand for; blocks that are codes times scales can be had as such
(`blocks`). Not about the file's structure (`file`, `split`), the numbers it leaves out
(`architectures`), the names of its tensors (`tensors`) or its vocabulary (`vocabulary_metadata`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

from exporter.checkpoints.files.byte_ranges import sha256
from exporter.checkpoints.files.tensor_set import require_exactly
from exporter.checkpoints.files.tensor_values import require_finite
from exporter.checkpoints.gguf.architectures import (
    ANOTHER_FILE,
    ARCHITECTURES,
    GgufArchitecture,
    recognise,
)
from exporter.checkpoints.gguf.blocks import HELD, codes_and_scales
from exporter.checkpoints.gguf.file import GgufFile
from exporter.checkpoints.gguf.split import open_whole
from exporter.checkpoints.gguf.tensors import find_gguf_tensors
from exporter.checkpoints.gguf.tokenizer_settings import read_tokenizer_settings
from exporter.checkpoints.gguf.vocabulary_metadata import read_gguf_tokens, read_vocabulary
from exporter.checkpoints.interface import Codes, CodeScales, HeldCodes, SourceTensor, TokenFacts
from exporter.checkpoints.text_tensors import describe_left_out
from exporter.checkpoints.tokenizer.tokenizer_files import GEMMA, Around, write_tokenizer_files
from exporter.checkpoints.tokenizer.vocabulary import Vocabulary
from exporter.errors import SpecError
from exporter.models.components import Components, text_alone
from exporter.models.published import published_audio, published_ids, published_vision
from exporter.models.text.families import read_spec
from exporter.models.text.spec import Role

READABLE = (
    "F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0",
    "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS",
)  # fmt: skip


@dataclass(frozen=True)
class GgufSource:
    """A `CheckpointSource` over one GGUF file. Peak memory of `rows` is some six times its result."""

    file: GgufFile
    name: str
    architecture: Mapping[str, Any]
    components: Components
    tensors: Mapping[str, SourceTensor]
    vocabulary: Vocabulary
    tokens: TokenFacts
    documents: Path | None
    stored_names: Mapping[str, str]  # canonical name to the file's
    left_out: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    adapter: None = None
    images: None = None  # llama.cpp keeps towers in files of their own, which are not read
    sounds: None = None
    around: Around = GEMMA

    @staticmethod
    def open(
        path: Path,
        documents: Path | None = None,
        known: tuple[GgufArchitecture, ...] = ARCHITECTURES,
    ) -> GgufSource:
        """Read the header; check architecture, tensors and vocabulary. No weight is read.

        documents: directory of the licence, which a GGUF does not carry. known: the models to look among.
        Raises CheckpointError, SpecError or TokenizerError.
        """
        file = open_whole(path)
        entry = recognise(file, known)
        spec = read_spec(entry.config, f"{path} as {entry.name}")
        found = find_gguf_tensors(file, spec)
        shapes = {name: tensor.shape for name, tensor in file.tensors.items()}
        tensors = require_exactly(
            spec,
            {
                name: SourceTensor(name, tensor.shape, tensor.kind.name, tensor.nbytes)
                for name, stored in found.stored.items()
                for tensor in (file.tensors[stored],)
            },
            READABLE,
            path,
        )
        listed = read_vocabulary(file)
        if listed.entries != spec.vocab_size:
            raise SpecError(
                f"{path}: tokenizer.ggml.tokens",
                f"has {listed.entries} entries, {entry.name} has {spec.vocab_size}",
                ANOTHER_FILE,
            )
        settings = read_tokenizer_settings(file)
        tokens = read_gguf_tokens(file, listed.vocabulary, spec.vocab_size)
        special = {"bos_token_id": tokens.bos_token, "eos_token_id": tokens.eos_token}
        return GgufSource(
            file=file,
            name=entry.name,
            architecture={**entry.config, **special, "pad_token_id": tokens.pad_token},
            components=text_alone(spec),
            tensors=tensors,
            vocabulary=listed.vocabulary,
            tokens=tokens,
            documents=documents,
            stored_names=found.stored,
            left_out=describe_left_out(found.left_out, shapes),
            remarks=(*entry.remarks, *remarks_on_towers(entry.name), *settings.remarks),
            around=settings.around,
        )

    def rows(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        tensor = self.file.tensors[self.stored_names[name]]
        if len(tensor.shape) == 1:  # a vector is a single row of blocks
            values = gguf.dequantize(self.file.read_rows(tensor.name, 0, 1)[0], tensor.kind)[start:stop]
        else:
            values = gguf.dequantize(self.file.read_rows(tensor.name, start, stop), tensor.kind)
        found: NDArray[np.float32] = values.astype(np.float32, copy=False)
        require_finite(found, self.file.path, name, start)
        # llama.cpp's converter adds the 1 that Gemma 1 to 3 norms add to their weights.
        return found - np.float32(1.0) if name in self._shifted else found

    @cached_property
    def held(self) -> Mapping[str, HeldCodes]:
        matrices = ((name, self.file.tensors[stored]) for name, stored in self.stored_names.items())
        return {
            name: HELD[tensor.kind]
            for name, tensor in matrices
            if tensor.kind in HELD and len(tensor.shape) == 2
        }

    def codes(self, name: str, start: int, stop: int) -> tuple[Codes, CodeScales]:
        tensor = self.file.tensors[self.stored_names[name]]
        rows = self.file.read_rows(tensor.name, start, stop)
        codes, scales = codes_and_scales(rows, tensor.kind)
        require_finite(scales.astype(np.float32), self.file.path, name, start)
        return codes, scales

    def digests(self) -> Mapping[str, str]:
        return self._digests

    def write_tokenizer(self, directory: Path) -> None:
        write_tokenizer_files(self.vocabulary, self.tokens, directory, around=self.around)

    @cached_property
    def _shifted(self) -> frozenset[str]:
        spec = self.components["text"].spec
        norms = (weight.name for weight in spec.weights() if weight.role is Role.NORM)
        return frozenset(norms) if spec.norm_adds_one else frozenset()

    @cached_property
    def _digests(self) -> dict[str, str]:
        return {path.name: sha256(path) for path in self.file.paths}


def remarks_on_towers(model_id: str) -> tuple[str, ...]:
    """That a published model takes more than its GGUF does, a sentence; nothing of one of text alone."""
    if model_id not in published_ids():
        return ()
    both = (("images", published_vision(model_id)), ("sounds", published_audio(model_id)))
    if not (taken := [what for what, tower in both if tower is not None]):
        return ()
    return (
        f"{model_id} takes {' and '.join(taken)}, and its GGUF holds the text model alone, whatever lies "
        "beside it: for a release that takes them export the model's Hugging Face directory.",
    )
