"""`GgufSource`: a Gemma in one GGUF file, block-quantised or not, as canonical float32 rows.

Values are what the file's blocks stand for; blocks that are codes times scales can be had as such
(`gguf_blocks`). Not about the file's structure (`gguf_file`) or the numbers it leaves out
(`gguf_architectures`).
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

from exporter.checkpoints.byte_ranges import sha256
from exporter.checkpoints.gguf_architectures import ARCHITECTURES, GgufArchitecture, recognise
from exporter.checkpoints.gguf_blocks import HELD, codes_and_scales
from exporter.checkpoints.gguf_file import GgufFile
from exporter.checkpoints.interface import Codes, CodeScales, HeldCodes, SourceTensor, TokenFacts
from exporter.checkpoints.tensor_set import require_exactly
from exporter.checkpoints.tensor_values import require_finite
from exporter.checkpoints.tokenizer_files import write_tokenizer_files
from exporter.checkpoints.vocabulary import END_OF_TURN, PieceKind, Vocabulary
from exporter.errors import CheckpointError, SpecError, TokenizerError
from exporter.models.families import read_spec
from exporter.models.spec import ModelSpec, Role

READABLE = (
    "F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0",
    "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS",
)  # fmt: skip

WHOLE_MODEL = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
PER_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "attn_output": "self_attn.o_proj",
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "post_ffw_norm": "post_feedforward_layernorm",
}


@dataclass(frozen=True)
class GgufSource:
    """A `CheckpointSource` over one GGUF file. Peak memory of `rows` is some six times its result."""

    file: GgufFile
    name: str
    architecture: Mapping[str, Any]
    spec: ModelSpec
    tensors: Mapping[str, SourceTensor]
    vocabulary: Vocabulary
    tokens: TokenFacts
    documents: Path | None
    left_out: tuple[str, ...] = ()

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
        file = GgufFile.open(path)
        if (parts := file.metadata.get("split.count", 1)) not in (0, 1):
            raise CheckpointError(
                path, f"is one of {parts} parts", "join them with llama.cpp's gguf-split --merge"
            )
        entry = recognise(file, known)
        spec = read_spec(entry.config, f"{path} as {entry.name}")
        stored = {}
        for tensor in file.tensors.values():
            name = canonical_name(tensor.name)
            stored[name] = SourceTensor(name, tensor.shape, tensor.kind.name, tensor.nbytes)
        tensors = require_exactly(spec, stored, READABLE, path)
        vocabulary = read_vocabulary(file)
        if len(vocabulary.pieces) != spec.vocab_size:
            raise SpecError(
                f"{path}: tokenizer.ggml.tokens",
                f"has {len(vocabulary.pieces)} entries, {entry.name} has {spec.vocab_size}",
                "the file is a variant this version cannot export; give a Hugging Face directory",
            )
        tokens = _token_facts(file, vocabulary)
        special = {"bos_token_id": tokens.bos_token, "eos_token_id": tokens.eos_token}
        architecture = {**entry.config, **special, "pad_token_id": tokens.pad_token}
        return GgufSource(file, entry.name, architecture, spec, tensors, vocabulary, tokens, documents)

    def rows(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        tensor = self.file.tensors[self._stored_names[name]]
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
        matrices = ((name, self.file.tensors[stored]) for name, stored in self._stored_names.items())
        return {
            name: HELD[tensor.kind]
            for name, tensor in matrices
            if tensor.kind in HELD and len(tensor.shape) == 2
        }

    def codes(self, name: str, start: int, stop: int) -> tuple[Codes, CodeScales]:
        tensor = self.file.tensors[self._stored_names[name]]
        rows = self.file.read_rows(tensor.name, start, stop)
        codes, scales = codes_and_scales(rows, tensor.kind)
        require_finite(scales.astype(np.float32), self.file.path, name, start)
        return codes, scales

    def digests(self) -> Mapping[str, str]:
        return self._digests

    def write_tokenizer(self, directory: Path) -> None:
        write_tokenizer_files(self.vocabulary, self.tokens, directory)

    @cached_property
    def _stored_names(self) -> dict[str, str]:
        return {canonical_name(name): name for name in self.file.tensors}

    @cached_property
    def _shifted(self) -> frozenset[str]:
        norms = (weight.name for weight in self.spec.weights() if weight.role is Role.NORM)
        return frozenset(norms) if self.spec.norm_adds_one else frozenset()

    @cached_property
    def _digests(self) -> dict[str, str]:
        return {self.file.path.name: sha256(self.file.path)}


def canonical_name(stored: str) -> str:
    """transformers' name of a GGUF tensor; a name that is not known stays as it is."""
    if stored in WHOLE_MODEL:
        return WHOLE_MODEL[stored]
    match stored.split("."):
        case ["blk", layer, part, "weight"] if part in PER_LAYER:
            return f"model.layers.{layer}.{PER_LAYER[part]}.weight"
    return stored


def read_vocabulary(file: GgufFile) -> Vocabulary:
    """The SentencePiece vocabulary in the metadata. Raises TokenizerError where there is none."""
    model = file.metadata.get("tokenizer.ggml.model")
    if model != "llama":
        raise TokenizerError(
            f"{file.path}: tokenizer.ggml.model",
            "there is no tokenizer" if model is None else f"{model!r} is not a SentencePiece vocabulary",
            "give a GGUF with its tokenizer, or a Hugging Face directory",
        )
    pieces = file.metadata.get("tokenizer.ggml.tokens")
    scores = file.metadata.get("tokenizer.ggml.scores")
    kinds = file.metadata.get("tokenizer.ggml.token_type")
    if not (isinstance(pieces, tuple) and isinstance(scores, np.ndarray) and isinstance(kinds, np.ndarray)):
        raise TokenizerError(
            file.path,
            "tokens, scores or token types are missing under tokenizer.ggml",
            "convert the model to GGUF again, or give a Hugging Face directory",
        )
    return Vocabulary.checked(file.path, pieces, scores.tolist(), kinds.tolist())


def _token_facts(file: GgufFile, vocabulary: Vocabulary) -> TokenFacts:
    def token(key: str) -> int:
        value = file.metadata.get(f"tokenizer.ggml.{key}")
        if not isinstance(value, int) or not 0 <= value < len(vocabulary.pieces):
            raise TokenizerError(
                f"{file.path}: tokenizer.ggml.{key}",
                f"{value!r} is not a token id",
                "convert the model to GGUF again, or give a Hugging Face directory",
            )
        return value

    template = file.metadata.get("tokenizer.chat_template")
    eos = token("eos_token_id")
    stops = [eos]
    if "tokenizer.ggml.eot_token_id" in file.metadata:
        stops.append(token("eot_token_id"))
    # The end of a turn ends a text too, and files of base models do not say so.
    stops += [i for i in vocabulary.ids(PieceKind.CONTROL) if vocabulary.pieces[i] in END_OF_TURN]
    return TokenFacts(
        bos_token=token("bos_token_id"),
        eos_token=eos,
        pad_token=token("padding_token_id"),
        stop_tokens=tuple(dict.fromkeys(stops)),
        chat_template=template if isinstance(template, str) else None,
    )
