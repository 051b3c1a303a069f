"""Reading tokenizer.model: the SentencePiece vocabulary of checkpoints without a tokenizer.json.

Not about what is made of it (`tokenizer_files`). The protocol buffer is the sentencepiece package's own.
"""

from __future__ import annotations

from pathlib import Path

from exporter.checkpoints.tokenizer.vocabulary import Vocabulary
from exporter.errors import TokenizerError
from runtimes.excerpt import plain_excerpt

BPE = 2


def read_sentencepiece(path: Path) -> Vocabulary:
    """The vocabulary of a Gemma-like model: BPE with byte fallback, nothing added before the text.

    Raises TokenizerError for a file that cannot be read, or whose normalisation tokenizer.json would
    not repeat.
    """
    from google.protobuf.message import DecodeError  # here: only such checkpoints need either
    from sentencepiece.sentencepiece_model_pb2 import ModelProto

    model = ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except (OSError, DecodeError) as error:
        raise TokenizerError(
            path, f"cannot be read as a SentencePiece model ({plain_excerpt(error)})", "fetch it again"
        ) from error
    gemma_like = {
        "model_type BPE": model.trainer_spec.model_type == BPE,
        "byte_fallback": model.trainer_spec.byte_fallback,
        "no add_dummy_prefix": not model.normalizer_spec.add_dummy_prefix,
        "no character map": not model.normalizer_spec.precompiled_charsmap,
    }
    if lacking := [trait for trait, there in gemma_like.items() if not there]:
        raise TokenizerError(
            path,
            f"is not a Gemma vocabulary (lacks: {', '.join(lacking)})",
            "give its tokenizer.json",
        )
    if not all(isinstance(piece.piece, str) for piece in model.pieces):  # bytes, where they are no UTF-8
        raise TokenizerError(path, "has a piece that is not UTF-8", "fetch it again")
    return Vocabulary.checked(
        path,
        [piece.piece for piece in model.pieces],
        [piece.score for piece in model.pieces],
        [piece.type for piece in model.pieces],
    )
