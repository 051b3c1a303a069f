"""tokenizer.json and tokenizer_config.json of a Gemma, built from its vocabulary.

Equal, piece for piece and merge for merge, to the tokenizer.json Google publishes for Gemma 3 (a
test pins the digest of both). Not about checkpoints that carry a tokenizer.json: it is copied.

SentencePiece's BPE joins the adjacent pair whose union scores best; a merge list joins the pair that
is listed first. So the merges are all splits of a piece into two pieces, sorted by the piece's score.
Gemma 4's vocabulary lists its merges, and all it adds to its vocabulary is special.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from exporter.checkpoints.interface import TokenFacts
from exporter.checkpoints.tokenizer.added_tokens import AddedToken
from exporter.checkpoints.tokenizer.vocabulary import PieceKind, Vocabulary
from exporter.errors import TokenizerError

UNKNOWN = "<unk>"
# Control pieces that stand for nothing: transformers keeps them when it skips special tokens.
PLAIN_CONTROL = ("<mask>", "<2mass>", "[@BOS@]", "<unused")
# And user-defined ones that do mark something, as Google's files have them.
SPECIAL_USER_DEFINED = (
    "<start_of_turn>", "<end_of_turn>", "<start_of_image>", "<end_of_image>", "<image_soft_token>",
)  # fmt: skip


@dataclass(frozen=True)
class Around:
    """Which tokens a tokenizer puts around a text of its own accord."""

    bos: bool = True
    eos: bool = False


GEMMA = Around()


def write_tokenizer_files(
    vocabulary: Vocabulary,
    tokens: TokenFacts,
    directory: Path,
    added: tuple[AddedToken, ...] = (),
    around: Around = GEMMA,
) -> None:
    """Write tokenizer.json and tokenizer_config.json. added: tokens of the vocabulary that were added to it
    afterwards. Raises TokenizerError without an <unk> piece."""
    if UNKNOWN not in vocabulary.pieces:
        raise TokenizerError(directory, f"the vocabulary has no {UNKNOWN}", "fetch the checkpoint again")
    special = (tokens.bos_token, tokens.eos_token, tokens.pad_token)
    if max(special) >= len(vocabulary.pieces):
        raise TokenizerError(
            directory, f"the vocabulary has no token {max(special)}", "fetch the checkpoint again"
        )
    bos, eos, pad = (vocabulary.pieces[token] for token in special)
    # Compact, where the tokenizers library indents: it parses the same at half the size.
    (directory / "tokenizer.json").write_text(
        json.dumps(
            {
                **tokenizer_json(vocabulary, bos, tokens.bos_token, added),
                "post_processor": post_processor(
                    (bos, tokens.bos_token) if around.bos else None,
                    (eos, tokens.eos_token) if around.eos else None,
                ),
            },
            ensure_ascii=False,
        ),
        encoding="utf-8",
    )
    write_tokenizer_config(bos, eos, pad, tokens.chat_template, directory, around)


def write_tokenizer_config(
    bos: str, eos: str, pad: str, template: str | None, directory: Path, around: Around = GEMMA
) -> None:
    """Write tokenizer_config.json, as transformers' GemmaTokenizer reads it."""
    config: dict[str, Any] = {
        "tokenizer_class": "GemmaTokenizer",
        "add_bos_token": around.bos,
        "add_eos_token": around.eos,
        "bos_token": bos,
        "eos_token": eos,
        "pad_token": pad,
        "unk_token": UNKNOWN,
        "clean_up_tokenization_spaces": False,
        "spaces_between_special_tokens": False,
    }
    if template is not None:
        config["chat_template"] = template
    (directory / "tokenizer_config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")


def tokenizer_json(
    vocabulary: Vocabulary, bos: str, bos_id: int, added: tuple[AddedToken, ...] = ()
) -> dict[str, Any]:
    """The content of tokenizer.json."""
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added_tokens(vocabulary, added),
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        "pre_tokenizer": {
            "type": "Split",
            "pattern": {"String": " "},
            "behavior": "MergedWithPrevious",
            "invert": False,
        },
        "post_processor": post_processor((bos, bos_id), None),
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
            ],
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": UNKNOWN,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": {piece: i for i, piece in enumerate(vocabulary.pieces)},
            "merges": merges(vocabulary),
        },
    }


def post_processor(bos: tuple[str, int] | None, eos: tuple[str, int] | None) -> dict[str, Any]:
    """What is put around a text, and around each of two: name and id of a token, None for nothing."""

    def text(which: str, kind: int) -> list[dict[str, Any]]:
        before, behind = (
            [{"SpecialToken": {"id": token[0], "type_id": kind}}] if token is not None else []
            for token in (bos, eos)
        )
        return [*before, {"Sequence": {"id": which, "type_id": kind}}, *behind]

    return {
        "type": "TemplateProcessing",
        "single": text("A", 0),
        "pair": text("A", 0) + text("B", 1),
        "special_tokens": {
            name: {"id": name, "ids": [i], "tokens": [name]}
            for name, i in (token for token in (bos, eos) if token is not None)
        },
    }


def added_tokens(vocabulary: Vocabulary, added: tuple[AddedToken, ...] = ()) -> list[dict[str, Any]]:
    """Pieces found in text before any merging: control and user-defined ones, and what was added."""
    known = {token.id: token for token in added}
    found = []
    for i in vocabulary.ids(PieceKind.CONTROL, PieceKind.UNKNOWN, PieceKind.USER_DEFINED):
        piece = vocabulary.pieces[i]
        if i in known:
            found.append(asdict(known[i]))
            continue
        if vocabulary.merges is not None:
            special = True
        elif vocabulary.kinds[i] is PieceKind.USER_DEFINED:
            special = piece in SPECIAL_USER_DEFINED
        else:
            special = not piece.startswith(PLAIN_CONTROL)
        found.append(
            {
                "id": i,
                "content": piece,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": special,
            }
        )
    return found


def merges(vocabulary: Vocabulary) -> list[tuple[str, str]]:
    """The listed merges, or every split of a piece into two pieces: best score first, then the longest
    left part."""
    if vocabulary.merges is not None:
        return [(left, right) for left, _, right in (pair.partition(" ") for pair in vocabulary.merges)]
    known = frozenset(vocabulary.pieces)
    ranked = []
    for i in vocabulary.ids(PieceKind.NORMAL, PieceKind.USER_DEFINED):
        piece = vocabulary.pieces[i]
        # SentencePiece gives user-defined pieces score 0; llama.cpp writes -1000 for them.
        score = 0.0 if vocabulary.kinds[i] is PieceKind.USER_DEFINED else vocabulary.scores[i]
        for cut in range(1, len(piece)):
            left, right = piece[:cut], piece[cut:]
            if left in known and right in known:
                ranked.append((-score, -cut, cut - len(piece), left, right))
    ranked.sort(key=lambda entry: entry[:3])  # ties stay in the order of token ids
    return [(left, right) for _, _, _, left, right in ranked]
