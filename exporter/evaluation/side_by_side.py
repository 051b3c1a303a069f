"""`compare_weights`: the original's weights beside others', over one text a domain, no logits kept.

Steps:
  (0) each text becomes sequences of at most LONGEST tokens, each behind its own beginning of text
  (1) each model's layers run once over all sequences; what is kept is their final hidden states
  (2) the heads run side by side, some rows of the vocabulary at a time, the original's once for all
      subjects; each block of logits goes into the sums of `running_agreement` and is forgotten
Peak memory is one layer's weights and one sequence's activations, final hidden states of every model
(4 bytes * positions * hidden), and one block of logits a model. Arithmetic is float32 throughout.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import torch

from exporter.errors import UsageError
from exporter.evaluation.running_agreement import RunningAgreement
from exporter.evaluation.statistics import Agreement
from exporter.progress import Progress
from exporter.reference.streamed import StreamedReference
from exporter.reference.texts import TokenisedText
from exporter.reference.weights import ReferenceWeights
from runtimes.session import Tokens

LONGEST = 1024  # tokens of a sequence: past the windows of the small models

BLOCK_BYTES = 32 << 20  # of one model's logits

ByDomain = Mapping[str, Agreement]
"""A text's name to the agreement at its positions."""


def compare_weights(
    original: ReferenceWeights,
    subjects: Sequence[ReferenceWeights],
    texts: Sequence[TokenisedText],
    progress: Progress,
    longest: int = LONGEST,
) -> list[ByDomain]:
    """Each subject's agreement with the original, position by position, text by text.

    longest: tokens of a sequence at most. Raises UsageError for a subject of another vocabulary,
    ReferenceModelError for weights that are not those of their architecture.
    """
    models = [StreamedReference(weights) for weights in (original, *subjects)]
    for model in models[1:]:
        if model.vocab_size != models[0].vocab_size:
            raise UsageError(
                model.weights.description,
                f"has {model.vocab_size} tokens, and {original.description} has {models[0].vocab_size}",
                "compare checkpoints of one model",
            )
    # (0)
    sequences = {text.name: cut_up(text.tokens, longest) for text in texts}
    every = [each for pieces in sequences.values() for each in pieces]
    following = np.concatenate([each[1:] for each in every])
    # (1) The last token of a sequence is only predicted.
    states = [model.final_states([each[None, :-1] for each in every], progress) for model in models]
    # (2)
    running = RunningAgreement(following, len(subjects))
    step = max(1, BLOCK_BYTES // (4 * len(following)))
    heads = [model.head(computed, step) for model, computed in zip(models, states, strict=True)]
    with torch.inference_mode():
        for blocks in zip(*heads, strict=True):
            (start, reference), *others = blocks
            running.take(start, reference, [block for _, block in others])
            progress("heads", start + reference.shape[1], models[0].vocab_size)
    lengths = {name: sum(len(each) - 1 for each in pieces) for name, pieces in sequences.items()}
    return [_by_domain(found, lengths) for found in running.found()]


def cut_up(tokens: Tokens, longest: int = LONGEST) -> list[Tokens]:
    """A text that starts with the beginning of text, as sequences that all do."""
    begin, inner = tokens[:1], tokens[1:]
    step = longest - 1
    return [np.concatenate([begin, inner[start : start + step]]) for start in range(0, len(inner), step)]


def _by_domain(found: Agreement, lengths: Mapping[str, int]) -> ByDomain:
    ends = [0, *np.cumsum(list(lengths.values())).tolist()]
    return {
        name: found.positions_from(start, stop)
        for name, (start, stop) in zip(lengths, pairwise(ends), strict=True)
    }
