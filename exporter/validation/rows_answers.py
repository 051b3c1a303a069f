"""Greedy answers about each picture or sound, and whether transformers would have given them.

The reference needs no loop: it reads sample, question and answer in one pass. Gated where transformers on
the quantised weights is decided (`copying.DECIDED`): there the artifact, with rows of its own tower, must
choose the same; how many tokens transformers on the original weights agrees with is reported. Not about
what a picture shows or a sound is of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from exporter.job import Job
from exporter.reference.merged_logits import AskedPrompt, merged_decisions
from exporter.validation.baselines import ORIGINAL, QUANTISED
from exporter.validation.copying import DECIDED
from exporter.validation.placed_prompts import PromptParts
from exporter.validation.report import GreedyRun
from exporter.validation.rows_reference import RowsReference
from runtimes.encoder import EncodedRows
from runtimes.multimodal.session import MultimodalSession, PlacedRows
from runtimes.session import Tokens

ANSWER_TOKENS = 16


@dataclass(frozen=True)
class SampleAnswer:
    """number: of the picture or sound. start: of its rows. tokens: sample, question and answer, which
    begins at `asked`."""

    number: int
    start: int
    tokens: Tokens
    asked: int


@dataclass(frozen=True)
class JudgedAnswer:
    """run: against transformers on the original weights. lost: tokens chosen otherwise than transformers on
    the quantised weights, where that is decided; decided: how many those are."""

    run: GreedyRun
    decided: int
    lost: int


def answer(
    session: MultimodalSession, parts: PromptParts, question: Tokens, number: int, rows: EncodedRows
) -> SampleAnswer | None:
    """`ANSWER_TOKENS` tokens, each the most likely; None where the context ends before."""
    pieces = [np.array([parts.bos_token], np.int32), parts.marked(number, parts.of), question]
    tokens = np.concatenate(pieces).astype(np.int32)
    if len(tokens) + ANSWER_TOKENS > session.facts.context:
        return None
    start = 1 + parts.rows_in(number, parts.of)[0]
    session.reset()
    session.prefill_with_rows(tokens[:-1], [PlacedRows(start, rows, parts.of)])
    found = tokens.tolist()
    for _ in range(ANSWER_TOKENS):
        found.append(int(session.decode(found[-1]).argmax()))
    return SampleAnswer(number, start, np.array(found, np.int32), len(tokens))


def judged(job: Job, reference: RowsReference, answers: Sequence[SampleAnswer]) -> list[JudgedAnswer]:
    """What transformers thinks of them, in order: two passes for all."""
    if not answers:
        return []
    by = {
        name: merged_decisions(
            reference.weights[name],
            [
                AskedPrompt(
                    each.tokens[:-1],
                    (PlacedRows(each.start, reference.rows[name][each.number], reference.parts.of),),
                    np.arange(each.asked - 1, len(each.tokens) - 1),
                )
                for each in answers
            ],
            job.progress,
        )
        for name in (QUANTISED, ORIGINAL)
    }
    found = []
    for each, quantised, original in zip(answers, by[QUANTISED], by[ORIGINAL], strict=True):
        chosen = each.tokens[each.asked :]
        decided = quantised.leads >= DECIDED
        same = original.choices == chosen
        text = job.texts.tokenizer.decode(chosen.tolist(), skip_special_tokens=False)
        run = GreedyRun(
            reference.modality.question.strip(),
            text,
            len(chosen),
            len(same) if same.all() else int(same.argmin()),
        )
        lost = int((decided & (quantised.choices != chosen)).sum())
        found.append(JudgedAnswer(run, int(decided.sum()), lost))
    return found
