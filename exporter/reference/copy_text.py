"""`CopyText`: facts near the beginning of a text, each asked for again at a growing distance from it.

Digit strings, names, dates and JSON keys, made by a seed, in the evaluation text. The true answers stand in
the text too, so that one pass answers for all. A beginning of the text is a whole text of the nearer facts:
shorter contexts use that, and what a reference chose is right for every one of them. Not about who answers
or how well (`exporter.validation.copying`).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from exporter.reference.texts import Texts
from runtimes.session import Tokens

# Tokens from a fact to its question. 1900 is for contexts of 2048: they hold no question behind 2000.
DISTANCES = (200, 500, 1000, 1900, 2000)
BEFORE = 16  # tokens of text before the first fact
SEED = 8

FactKind = Literal["digits", "name", "date", "key"]
BESIDE_DIGITS: tuple[FactKind, ...] = ("name", "date", "key")
"""Each distance has a digit string, which errs first, and one of these in turn."""

GIVEN = ("Marta", "Ivo", "Aiko", "Leo", "Nina", "Selma", "Tomas", "Grace", "Hugo", "Petra", "Omar", "Ines")
FAMILY = ("Delgado", "Brandt", "Mori", "Ruiz", "Okafor", "Aydin", "Keller", "Mbeki", "Lindqvist", "Novak")
CITIES = ("Berlin", "Lisbon", "Oslo", "Kyoto", "Quito", "Nairobi", "Vienna", "Lima", "Dublin", "Hanoi")
MONTHS = ("January", "February", "March", "April", "June", "July", "August", "October", "November")
WORDS = ("copper", "harbor", "lantern", "meadow", "orbit", "pepper", "river", "silver", "tunnel", "violet")


@dataclass(frozen=True)
class AskedFact:
    """Tokens begin to end of the text are a true answer; its fact stands `distance` tokens before it, or
    further where other facts did not leave so little room."""

    kind: FactKind
    distance: int
    begin: int
    end: int


@dataclass(frozen=True)
class Stretch:
    """Positions first to end of a text: where questions of one distance are answered."""

    distance: int
    first: int
    end: int


@dataclass(frozen=True)
class CopyText:
    """tokens: [tokens] int32, the beginning-of-text token first, up to the last answer's end.
    answers: in order, nearer facts first."""

    tokens: Tokens
    answers: tuple[AskedFact, ...]

    @property
    def distances(self) -> tuple[int, ...]:
        return tuple(dict.fromkeys(answer.distance for answer in self.answers))

    @property
    def positions(self) -> NDArray[np.int64]:
        """Those whose logits choose an answer's token, in order: each one before such a token."""
        return np.concatenate([np.arange(each.begin - 1, each.end - 1) for each in self.answers])

    @property
    def true(self) -> NDArray[np.int32]:
        """The answers' tokens, one for each position."""
        return self.tokens[self.positions + 1]

    def of(self, distance: int) -> NDArray[np.bool_]:
        """Which of `positions` belong to answers from so far back."""
        lengths = [each.end - each.begin for each in self.answers]
        return np.repeat([each.distance == distance for each in self.answers], lengths)

    def stretches(self) -> Iterator[Stretch]:
        """From the last token of a distance's first question to the last but one of its answers."""
        for distance in self.distances:
            own = [each for each in self.answers if each.distance == distance]
            yield Stretch(distance, own[0].begin - 1, own[-1].end - 1)

    def within(self, context: int) -> CopyText | None:
        """As far as caches of `context` positions hold it; None where they hold no distance's questions."""
        ends = {each.distance: each.end for each in self.answers}
        held = [distance for distance, end in ends.items() if end <= context]
        if not held:
            return None
        own = tuple(each for each in self.answers if each.distance in held)
        return CopyText(self.tokens[: own[-1].end], own)


@dataclass(frozen=True)
class _Fact:
    kind: FactKind
    distance: int
    question: list[int]
    value: list[int]
    stop: list[int]

    @property
    def tokens(self) -> list[int]:
        return [*self.question, *self.value, *self.stop]


def copying_text(texts: Texts, distances: Sequence[int] = DISTANCES) -> CopyText:
    """The whole text, in a checkpoint's tokens. Raises TokenizerError for one that has no row."""
    facts = _facts(texts, sorted(distances))
    source = texts.evaluation.tokens[1:].tolist()
    used = BEFORE
    tokens = [texts.bos_token, *source[:BEFORE]]
    began: dict[int, int] = {}
    for fact in facts:
        began.setdefault(fact.distance, len(tokens))
        tokens += fact.tokens
    answers = []
    for distance, begin in began.items():
        room = max(0, begin + distance - len(tokens))
        tokens += [source[(used + i) % len(source)] for i in range(room)]
        used += room
        for fact in (each for each in facts if each.distance == distance):
            at = len(tokens) + len(fact.question)
            answers.append(AskedFact(fact.kind, distance, at, at + len(fact.value)))
            tokens += fact.tokens
    return CopyText(np.array(tokens[: answers[-1].end], np.int32), tuple(answers))


def _facts(texts: Texts, distances: Sequence[int]) -> list[_Fact]:
    chance = random.Random(SEED)
    people = [f"{given} {family}" for given in GIVEN for family in FAMILY]
    chance.shuffle(people)
    cities, words = list(CITIES), list(WORDS)
    found = []
    for number, distance in enumerate(distances):
        for kind in ("digits", BESIDE_DIGITS[number % len(BESIDE_DIGITS)]):
            chance.shuffle(cities)
            chance.shuffle(words)
            pieces = _written(kind, people.pop(), cities[0], words, chance)
            found.append(_Fact(kind, distance, *(texts.piece(piece).tolist() for piece in pieces)))
    return found


def _written(
    kind: FactKind, person: str, city: str, words: Sequence[str], chance: random.Random
) -> tuple[str, str, str]:
    """Question, answer, and what ends the sentence. No two facts have the same question."""
    match kind:
        case "digits":
            return f"\nThe code of {person} is", f" {chance.randrange(10_000, 100_000)}", "."
        case "name":
            number = chance.randrange(10, 100)
            return f"\nThe keeper of lock {number} in {city} is", f" {person}", "."
        case "date":
            date = f" {chance.randrange(10, 29)} {chance.choice(MONTHS)} {chance.randrange(1900, 2000)}"
            return f"\n{person} came to {city} on", date, "."
        case "key":
            return f'\n{{"owner": "{person}", "', f"{words[0]}_{words[1]}", '": true}'
