"""The vocabulary and the special tokens in a GGUF's metadata, in both of the kinds Gemmas have.

"llama" (Gemma 1 to 3): SentencePiece's pieces and scores. "gemma4": the vocabulary and merges of
tokenizer.json. Not about what is put around a text (`tokenizer_settings`), nor about tokenizer.json itself
(`tokenizer_files`).
Source: llama.cpp conversion/base.py, conversion/gemma.py, src/llama-vocab.cpp.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from exporter.checkpoints.gguf.file import GgufFile
from exporter.checkpoints.interface import TokenFacts
from exporter.checkpoints.tokenizer.named_tokens import NamedTokens
from exporter.checkpoints.tokenizer.stop_tokens import StopsStated, complete
from exporter.checkpoints.tokenizer.vocabulary import PieceKind, Vocabulary
from exporter.errors import TokenizerError
from runtimes.excerpt import excerpt, plain_excerpt

TEMPLATE = "tokenizer.chat_template"
CONVERT_AGAIN = "convert the model to GGUF again, or give a Hugging Face directory"
# Pieces that end a text or a turn, most usual first: files name one, of base models often only <eos>.
# The last asks for a tool's answer: Gemma 4's generation_config.json stops there too.
ENDS = ("<eos>", "<end_of_turn>", "<turn|>", "<|tool_response>")
# What Gemma 4's tokenizer.json adds to its vocabulary, all of it special. GGUF marks them by what
# llama.cpp shows of them, and marks none that tokenizer_config.json does not name.
GEMMA4_ADDED = frozenset(
    {
        "<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<|tool>", "<tool|>", "<|tool_call>",
        "<tool_call|>", "<|tool_response>", "<tool_response|>", '<|"|>', "<|think|>", "<|channel>",
        "<channel|>", "<|turn>", "<turn|>", "<|image>", "<image|>", "<|image|>", "<|audio>", "<audio|>",
        "<|audio|>", "<|video|>",
    }
)  # fmt: skip


@dataclass(frozen=True)
class GgufVocabulary:
    """entries: how many tokens the file lists, rows of the embedding that have no piece included."""

    vocabulary: Vocabulary
    entries: int


def read_vocabulary(file: GgufFile) -> GgufVocabulary:
    """The vocabulary in the metadata. Raises TokenizerError where there is none, or of another kind."""
    match file.word("tokenizer.ggml.model"):
        case "llama":
            return _sentencepiece(file)
        case "gemma4":
            return _merged(file)
        case None:
            what = "there is no tokenizer"
        case other:
            what = f"{excerpt(other)} is not a Gemma's vocabulary ('llama' or 'gemma4')"
    raise TokenizerError(
        f"{file.path}: tokenizer.ggml.model",
        what,
        "give a GGUF with its tokenizer, or a Hugging Face directory",
    )


def read_gguf_tokens(file: GgufFile, vocabulary: Vocabulary, rows: int) -> TokenFacts:
    """Special tokens and chat template. rows: of the embedding. Raises TokenizerError for an id that is
    none, and CheckpointError for a template that is no text."""

    def token(key: str) -> int:
        value = file.metadata.get(f"tokenizer.ggml.{key}")
        if type(value) is not int or not 0 <= value < len(vocabulary.pieces):
            raise TokenizerError(
                f"{file.path}: tokenizer.ggml.{key}", f"{excerpt(value)} is not a token id", CONVERT_AGAIN
            )
        return value

    template = file.word(TEMPLATE)
    eos = token("eos_token_id")
    # Nothing here pads: a converter may leave it out, and the file is asked only for what it says.
    padded = "tokenizer.ggml.padding_token_id" in file.metadata
    stops = [eos]
    # llama.cpp stops at the end of a turn and at that of a message to a tool, where a file names them.
    ends = ("eot_token_id", "eom_token_id")
    stops += [token(key) for key in ends if f"tokenizer.ggml.{key}" in file.metadata]
    ids = {piece: i for i, piece in enumerate(vocabulary.pieces) if piece in ENDS}
    stops += [ids[piece] for piece in ENDS if piece in ids]
    facts = TokenFacts(
        bos_token=token("bos_token_id"),
        eos_token=eos,
        pad_token=token("padding_token_id") if padded else _pad(vocabulary, eos),
        stop_tokens=(),
        chat_template=template,
        remarks=_other_templates(file, template),
    )
    said = StopsStated("the file", tuple(dict.fromkeys(stops)))
    return complete(file.path, facts, [said], NamedTokens.of(vocabulary), rows)


def _other_templates(file: GgufFile, taken: str | None) -> tuple[str, ...]:
    named = (key for key in file.metadata if key.startswith(f"{TEMPLATE}."))
    others = sorted(key.removeprefix(f"{TEMPLATE}.") for key in named if file.word(key) != taken)
    names = plain_excerpt(", ".join(others))
    return (f"Of the file's chat templates, these are not in the release: {names}.",) if others else ()


def _pad(vocabulary: Vocabulary, eos: int) -> int:
    """The id of <pad>, or of what ends a text, which transformers pads with where there is none."""
    return vocabulary.pieces.index("<pad>") if "<pad>" in vocabulary.pieces else eos


def _sentencepiece(file: GgufFile) -> GgufVocabulary:
    pieces, scores, kinds = _columns(file)
    entries = len(pieces)
    # The converter names rows without a piece itself; tokenizer.json has none for them.
    while pieces and kinds[-1] == PieceKind.UNUSED and pieces[-1] == f"[PAD{len(pieces) - 1}]":
        del pieces[-1], scores[-1], kinds[-1]
    # SentencePiece lists control and user-defined pieces, then bytes, then the rest. Converters before
    # June 2024 called user-defined pieces normal, and a chat's markers were cut up.
    first_byte = kinds.index(PieceKind.BYTE) if PieceKind.BYTE in kinds else 0
    kinds[:first_byte] = [
        PieceKind.USER_DEFINED if kind == PieceKind.NORMAL else kind for kind in kinds[:first_byte]
    ]
    return GgufVocabulary(Vocabulary.checked(file.path, pieces, scores, kinds), entries)


def _merged(file: GgufFile) -> GgufVocabulary:
    pieces, scores, kinds = _columns(file)
    added = (PieceKind.CONTROL, PieceKind.UNKNOWN, PieceKind.USER_DEFINED)
    kinds = [
        PieceKind.CONTROL if kind in added or piece in GEMMA4_ADDED else kind
        for piece, kind in zip(pieces, kinds, strict=True)
    ]
    listed = file.metadata.get("tokenizer.ggml.merges")
    if not isinstance(listed, tuple) or not listed:
        raise TokenizerError(
            file.path, "tokenizer.ggml.merges is missing or not a list of merges", CONVERT_AGAIN
        )
    known = frozenset(pieces)
    for merge in listed:
        left, _, right = merge.partition(" ")
        if not (left in known and right in known and left + right in known):
            raise TokenizerError(
                f"{file.path}: tokenizer.ggml.merges",
                f"{excerpt(merge)} does not join two pieces of the vocabulary into a third",
                CONVERT_AGAIN,
            )
    return GgufVocabulary(Vocabulary.checked(file.path, pieces, scores, kinds, listed), len(pieces))


def _columns(file: GgufFile) -> tuple[list[str], list[float], list[int]]:
    pieces = file.metadata.get("tokenizer.ggml.tokens")
    scores = file.metadata.get("tokenizer.ggml.scores")
    kinds = file.metadata.get("tokenizer.ggml.token_type")
    if not (isinstance(pieces, tuple) and isinstance(scores, np.ndarray) and isinstance(kinds, np.ndarray)):
        raise TokenizerError(
            file.path, "tokens, scores or token types are missing under tokenizer.ggml", CONVERT_AGAIN
        )
    if scores.dtype.kind != "f" or not np.isfinite(scores).all():
        raise TokenizerError(
            f"{file.path}: tokenizer.ggml.scores", "has values that are no finite numbers", CONVERT_AGAIN
        )
    if kinds.dtype.kind not in "iu":
        raise TokenizerError(
            f"{file.path}: tokenizer.ggml.token_type",
            f"expected integers, got {kinds.dtype}",
            CONVERT_AGAIN,
        )
    Vocabulary.require_equal_lengths(file.path, pieces, scores, kinds)
    return list(pieces), scores.tolist(), kinds.tolist()
