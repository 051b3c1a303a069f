"""Prompts with a picture or a sound on an execution path, against transformers on the quantised weights.

    (1) the same text without a sample, which has the path's limit
    (2) a sample in the middle of text, and one behind a window of text, with transformers' rows, so that
        the decoder alone is judged. Behind rows it may stray `Sensing.rounding` times as far as on text
        alone, where that is more than the path's limit, as it may on this machine's CPU
    (3) the first of these with rows that the path's own tower made, against transformers behind rows of
        transformers' tower: `Sensing.own`, and no token lost that transformers is decided about
All of tokens that decode is given. What would take many minutes is left out from the end, and said. Not
about the rows themselves (`tower_paths`), nor about running a path (`tower_on_path`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from exporter.evaluation.kl_spread import spread_of
from exporter.evaluation.statistics import agree
from exporter.models.text.spec import ModelSpec, Role
from exporter.validation.baselines import QUANTISED
from exporter.validation.copying import DECIDED
from exporter.validation.gates import MEAN_KL, NATS, count_gate
from exporter.validation.placed_prompts import ALONE, BEHIND_WINDOW, MIDDLE, START, TriedPrompt
from exporter.validation.report import Comparison, Gate
from exporter.validation.tower_on_path import TowerOnPath
from exporter.validation.verdict import at_most
from runtimes.encoder import EncodedRows
from runtimes.multimodal.fed_prompt import FedPrompt
from runtimes.session import Logits

LOST, TOKENS = "answer tokens lost", "tokens"
PROMPTS = "prompts"


@dataclass(frozen=True)
class _Asked:
    """A prompt of the reference, by number. own: the rows are those that the path's tower made."""

    number: int
    prompt: TriedPrompt
    fed: FedPrompt
    own: bool = False

    @property
    def name(self) -> str:
        return f"{self.prompt.name}, rows of its own" if self.own else self.prompt.name


def check_prompts(on: TowerOnPath, own: EncodedRows | None) -> None:
    """own: rows that the path made of the first sample, None where it made none. Gates, comparisons and
    remarks go to the findings."""
    wanted = list(_wanted(on, own))
    if not any(each.prompt.samples for each in wanted):
        return  # the check on this machine's CPU fails for want of room
    asked = _in_time(on, wanted)
    if left := [each.name for each in wanted[len(asked) :]]:
        on.say(f"not tried, as they take what computes here many minutes: {', '.join(left)}")
    if len(asked) < 2:  # text alone is another check's
        return
    prompts = tuple(each.fed for each in asked)
    answer = on.attempt(on.encoder.decoder, PROMPTS, lambda order: on.sensing.behind(order, prompts))
    if answer is None:
        return
    (text, of_text), *every = zip(asked, answer.logits, strict=True)
    others = [(each, logits) for each, logits in every if len(logits)]
    for each in (each for each, logits in every if not len(logits)):
        on.say(f"{each.name} was not tried: its graph has no room for such a prompt")
    if not others:
        return
    # (1)
    limit, alone = on.execution.mean_kl_limit, _compare(on, text, of_text)
    _judge(on, text, alone, limit)
    # Where text alone strays beyond the limit, it fails and lets nothing else stray farther.
    behind_rows = max(limit, on.sensing.rounding * min(alone, limit))
    for each, logits in others:
        if not each.own:
            # (2)
            _judge(on, each, _compare(on, each, logits), behind_rows)
        else:
            # (3)
            _judge(on, each, _compare(on, each, logits), on.sensing.own)
            _judge_choices(on, each, logits)


def _wanted(on: TowerOnPath, own: EncodedRows | None) -> Iterator[_Asked]:
    """The text alone first, what is most dispensable last."""
    reference = on.reference
    numbers = {each.name: number for number, each in enumerate(reference.prompts)}
    sample, shared = on.modality.sample, reference.rows[QUANTISED]

    def asked(place: str, rows: tuple[EncodedRows, ...], own: bool = False) -> Iterator[_Asked]:
        if (number := numbers.get(place.format(sample))) is not None:
            prompt = reference.prompts[number]
            yield _Asked(number, prompt, prompt.fed(rows), own)

    place = MIDDLE if MIDDLE.format(sample) in numbers else START
    yield from asked(ALONE, ())
    yield from asked(place, shared)
    if own is not None:
        yield from asked(place, (own, *shared[1:]), own=True)
    if on.execution.most_prefilled is None:
        yield from asked(BEHIND_WINDOW, shared)


def _in_time(on: TowerOnPath, wanted: list[_Asked]) -> list[_Asked]:
    """As many, from the first on, as what is here does in minutes."""
    spec, left = on.job.source.components["text"].spec, on.sensing.most_work()
    taken = []
    for each in wanted:
        left -= _work_of(spec, each.fed)
        if left < 0:
            break
        taken.append(each)
    return taken


def _work_of(spec: ModelSpec, prompt: FedPrompt) -> float:
    """Multiplications of a prompt, attention not counted."""
    linears = sum(prod(each.shape) for each in spec.weights() if each.role is Role.LINEAR)
    head = spec.vocab_size * spec.hidden_size
    return float(linears * len(prompt.tokens) + head * (len(prompt.tokens) - prompt.decoded))


def _judge(on: TowerOnPath, asked: _Asked, kl: float, limit: float) -> None:
    where = f"{on.title}: {asked.name}"
    on.gate(Gate(on.kind, on.encoder.decoder, where, MEAN_KL, at_most(kl, limit, NATS)))


def _judge_choices(on: TowerOnPath, asked: _Asked, logits: Logits) -> None:
    expected, _ = _expected(on, asked)
    ordered = np.sort(expected, axis=1)
    decided = ordered[:, -1] - ordered[:, -2] >= DECIDED
    if not decided.any():
        by = "transformers on the quantised checkpoint"
        on.say(f"{asked.name}: {by} is decided about no token of it, so that none could be lost")
        return
    lost = int((decided & (expected.argmax(axis=1) != logits.argmax(axis=1))).sum())
    where = f"{on.title}: {asked.name}"
    on.gate(count_gate(on.kind, on.encoder.decoder, where, LOST, lost, TOKENS))


def _compare(on: TowerOnPath, asked: _Asked, logits: Logits) -> float:
    """Mean KL, put down as a comparison."""
    expected, following = _expected(on, asked)
    agreement = agree(expected, logits, following)
    statistics = agreement.statistics()
    on.findings.comparisons.append(
        Comparison(
            on.kind,
            on.encoder.decoder,
            on.title,
            on.reference.weights[QUANTISED].description,
            asked.name,
            statistics,
            spread_of(agreement.kl, along=False),
        )
    )
    return statistics.mean_kl


def _expected(on: TowerOnPath, asked: _Asked) -> tuple[Logits, NDArray[np.int32]]:
    """transformers' logits of the tokens that decode is given, and the token behind each."""
    at, prompt = asked.prompt.at, asked.prompt
    decoded = at >= prompt.decoded
    expected = on.reference.logits_of(QUANTISED, asked.number)[decoded]
    return expected, prompt.tokens[at[decoded] + 1]
