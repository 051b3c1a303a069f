"""Prompts whose length is where an index goes wrong: a chunk, the window, a ring, nothing but `<bos>`.

Each is given to a session that was reset, and what comes for its last token is held against the artifact's
own logits there when it was given the whole text: a prefix of a text needs no reference of its own. A
prompt of special tokens is held against transformers on the quantised checkpoint. Not about longer texts,
which the two routes run (`routes`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exporter.evaluation.statistics import agree
from exporter.formats.family import Driver
from exporter.reference.special_prompt import SpecialPrompt
from exporter.validation.check_context import ArtifactCheck
from exporter.validation.gates import MEAN_KL, NATS
from exporter.validation.report import Gate
from exporter.validation.verdict import at_most
from runtimes.session import PrefillLogits, Session

KL = "KL"

# What one position may stray, in times of what the mean of all may: some positions stray further than
# others. A wrong index costs whole nats.
OF_ONE_POSITION = 10.0


@dataclass(frozen=True)
class Boundary:
    """prefilled: tokens given by prefill. decoded: by decode behind them, 1 where a prefill returns no
    logits. what: in words."""

    prefilled: int
    decoded: int
    what: str

    @property
    def position(self) -> int:
        """Whose logits come back."""
        return self.prefilled + self.decoded - 1

    @property
    def name(self) -> str:
        return f"{self.prefilled:,} tokens prefilled, {self.what}" if self.prefilled else self.what


@dataclass(frozen=True)
class Boundaries:
    """chosen: to be tried. too_long: lengths beyond the text. left_out: those there is no time for."""

    chosen: tuple[Boundary, ...]
    too_long: tuple[int, ...]
    left_out: tuple[int, ...]


def boundaries_of(check: ArtifactCheck, driver: Driver, chunk: int, returned: PrefillLogits) -> Boundaries:
    """Of an artifact: what tells most first, as far as the driver's tokens go."""
    spec = check.spec
    windows = {layer.window for layer in spec.layers if layer.window is not None}
    slots = {
        check.family.cache_slots(spec, layer, check.artifact.context, check.longest_call)
        for layer in spec.cache_layers
        if layer.window is not None
    }
    edges = [(chunk, "a chunk"), *((window, "the window") for window in sorted(windows))]
    asked = [(length + by, f"{how}{what}") for by, how in OFFSETS for length, what in edges]
    asked += [(2 * ring + 1, "a ring turned twice") for ring in slots if ring < check.artifact.context]
    decoded = 1 if returned == "none" else 0
    return chosen_boundaries(asked, decoded, check.positions, driver.boundary_tokens)


OFFSETS = ((1, "one more than "), (0, ""), (-1, "one less than "))


def chosen_boundaries(
    asked: Sequence[tuple[int, str]], decoded: int, positions: int, tokens: int
) -> Boundaries:
    """asked: lengths to prefill, in words. positions: of the text. tokens: to be given at most."""
    chosen = [Boundary(1 - decoded, decoded, "nothing but the beginning of text")]
    too_long, left_out, given = [], [], {1 - decoded}
    for length, what in asked:
        if length < 1 or length in given:
            continue
        given.add(length)
        if length + decoded > positions:
            too_long.append(length)
        elif length + decoded > tokens - sum(each.prefilled + each.decoded for each in chosen):
            left_out.append(length)
        else:
            chosen.append(Boundary(length, decoded, what))
    return Boundaries(tuple(chosen), tuple(sorted(too_long)), tuple(sorted(left_out)))


def try_boundaries(
    check: ArtifactCheck, session: Session, boundaries: Boundaries
) -> dict[Boundary, NDArray[np.float32]]:
    """The logits [vocab] of each prompt's last token, the session reset before it."""
    tokens, found = check.text.tokens, {}
    for boundary in boundaries.chosen:
        session.reset()
        rows = session.prefill(tokens[: boundary.prefilled]) if boundary.prefilled else None
        for token in tokens[boundary.prefilled : boundary.prefilled + boundary.decoded]:
            rows = session.decode(int(token))[None]
        assert rows is not None
        found[boundary] = rows[-1].copy()
    session.reset()
    return found


def judge_boundaries(
    check: ArtifactCheck,
    driver: Driver,
    subject: str,
    found: Mapping[Boundary, NDArray[np.float32]],
    whole: Mapping[int, NDArray[np.float32]],
) -> None:
    """One gate, on the worst. whole: logits by position, of the artifact given the whole text."""
    apart = {
        boundary: float(
            agree(
                whole[boundary.position][None],
                logits[None],
                check.text.tokens[boundary.position + 1 : boundary.position + 2],
            ).kl[0]
        )
        for boundary, logits in found.items()
    }
    worst = max(apart, key=lambda each: np.nan_to_num(apart[each], nan=np.inf))
    limit = OF_ONE_POSITION * driver.hand_over_limit
    named = f"{subject}: {worst.name}, the worst of {len(apart)} prompts"
    verdict = at_most(apart[worst], limit, NATS)
    check.findings.gates.append(Gate("boundaries", check.artifact.path, named, KL, verdict))


def say_what_was_not_tried(check: ArtifactCheck, subject: str, boundaries: Boundaries) -> None:
    reasons = (
        (boundaries.too_long, f"the text compared has {check.positions:,}"),
        (boundaries.left_out, "there is not the time here"),
    )
    check.findings.not_checked += [
        f"{check.artifact.path}, {subject}: prompts of {', '.join(f'{each:,}' for each in lengths)} tokens "
        f"were not tried: {reason}."
        for lengths, reason in reasons
        if lengths
    ]


def special_logits(session: Session, prompt: SpecialPrompt) -> NDArray[np.float32]:
    """Of the second half of a prompt of special tokens, decoded behind the first: [decoded, vocab]."""
    session.reset()
    session.prefill(prompt.tokens[: prompt.prefilled])
    found = np.stack([session.decode(int(token)) for token in prompt.tokens[prompt.prefilled : -1]])
    session.reset()
    return found


def judge_special(
    check: ArtifactCheck, subject: str, prompt: SpecialPrompt, found: NDArray[np.float32]
) -> None:
    """Against transformers on the quantised checkpoint, by what the recipe allows its user."""
    recipe = check.release.plan.variant.recipe
    limit = recipe.end_to_end.get(check.family.name, recipe.quantisation).mean_kl
    expected = prompt.logits.rows(prompt.prefilled, len(prompt.tokens) - 1)
    kl = float(agree(expected, found, prompt.tokens[prompt.prefilled + 1 :]).kl.mean())
    named = f"{subject}: a prompt with {prompt.special} special tokens"
    verdict = at_most(kl, limit, NATS)
    check.findings.gates.append(Gate("boundaries", check.artifact.path, named, MEAN_KL, verdict))
