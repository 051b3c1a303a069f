"""`SpecialPrompt`: a short prompt with the tokens in it that stand for no text, and the reference's logits.

A graph or a driver that takes `<pad>` or the end of a turn for something else errs where the evaluation
text, which holds none of them, shows nothing. Not a conversation: chat templates are checked elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from exporter.progress import Progress
from exporter.reference.logits_file import LogitsFile
from exporter.reference.streamed import reference_logits
from exporter.reference.texts import Texts
from exporter.reference.weights import ReferenceWeights
from runtimes.session import Tokens

MOST_SPECIAL = 8  # tokens, the lowest ids: the vocabulary's named ones come first
WORDS = (" The capital of France", " is 42", "\n", " and then")


@dataclass(frozen=True)
class SpecialPrompt:
    """tokens: [tokens], the beginning of text first; the last one is only predicted. prefilled: how many
    are given at once, the others one by one. special: how many are special beside the first. logits: of all
    but the last."""

    tokens: Tokens
    prefilled: int
    special: int
    logits: LogitsFile


def special_tokens(texts: Texts, known: tuple[int, ...]) -> tuple[int, ...]:
    """Ids that have a row: those known and those the tokenizer calls special."""
    named = texts.tokenizer.get_added_tokens_decoder()
    found = {*known, *(token for token, added in named.items() if added.special)} - {texts.bos_token}
    rest = sorted(token for token in found if token < texts.rows and token not in known)
    return tuple(dict.fromkeys([*(token for token in known if token < texts.rows), *rest]))[:MOST_SPECIAL]


def special_text(texts: Texts, special: tuple[int, ...], context: int) -> Tokens:
    """Each of the tokens with some words behind it, as far as a cache of `context` positions holds them."""
    pieces = [
        np.concatenate([np.array([token], np.int32), texts.piece(WORDS[i % len(WORDS)])])
        for i, token in enumerate(special)
    ]
    whole: Tokens = np.concatenate([np.array([texts.bos_token], np.int32), *pieces])
    return whole[: context + 1]


def special_prompt(
    weights: ReferenceWeights, tokens: Tokens, special: tuple[int, ...], path: Path, progress: Progress
) -> SpecialPrompt:
    """What a reference makes of a `special_text`; its logits go to a file at `path`."""
    logits = reference_logits(weights, tokens[:-1], path, progress)
    held = int(np.isin(tokens[1:-1], special).sum())
    return SpecialPrompt(tokens, len(tokens) // 2, held, logits)
