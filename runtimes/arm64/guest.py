"""What runs on the emulated CPU: an artifact, or a tower of it, opened and fed as an order says.

Reads `order.json` of a directory and what lies there to be fed; writes what came of it and, last,
`answer.json`. Each line it prints says what it is about to do, so that whoever waits knows where it
stopped. Not about processes (`emulation`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

import numpy as np

from runtimes.asked_work import ANSWER, LOGITS, ORDER, TOKENS, EncodeSamples, FeedTokens
from runtimes.encoder import EncoderFacts
from runtimes.errors import RuntimesError
from runtimes.manifest import Artifact, EncoderArtifact
from runtimes.multimodal.fed_prompt import behind_each
from runtimes.multimodal.passed_files import BEHIND, ROWS, read_prompts, read_samples, write_numbers
from runtimes.open import open_image_encoder, open_multimodal_session, open_session, open_sound_encoder
from runtimes.opening import EncoderOpening
from runtimes.records import from_plain, to_plain
from runtimes.session import Logits, Session, SessionFacts, Tokens
from runtimes.strict_json import read_json_object

CPU_FACTS = Path("/proc/cpuinfo")  # QEMU's, of the CPU that is emulated


@dataclass(frozen=True)
class FeedPrompts:
    """Logits behind each prompt with rows, of the decoder that takes a tower's."""

    encoder: EncoderArtifact


Feeding = FeedTokens | EncodeSamples | FeedPrompts


@dataclass(frozen=True)
class Order:
    """release: directory. artifact: the format's for text."""

    release: str
    artifact: Artifact
    asked: Feeding
    threads: int


@dataclass(frozen=True)
class Answer:
    """error: class and message of one of our errors; None where all went well, and "" elsewhere then.

    features: of the CPU, as Linux names them ("asimddp").
    """

    runtime: str
    version: str
    arithmetic: str
    features: tuple[str, ...]
    error: tuple[str, ...] | None


def serve(directory: Path) -> None:
    """Carry out the order of a directory. One of our errors becomes the answer; anything else is raised."""
    order = from_plain(Order, read_json_object(directory / ORDER))
    try:
        answer = _run(order, directory)
    except RuntimesError as error:
        answer = Answer("", "", "", cpu_features(), (type(error).__name__, str(error)))
    (directory / ANSWER).write_text(json.dumps(to_plain(answer)), encoding="utf-8")


def cpu_features(facts: Path = CPU_FACTS) -> tuple[str, ...]:
    """What the first processor can do, in Linux's words; empty where the system does not say."""
    for line in facts.read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "Features":
            return tuple(value.split())
    return ()


def _run(order: Order, directory: Path) -> Answer:
    match order.asked:
        case FeedTokens(prefilled):
            facts: SessionFacts | EncoderFacts = _decode(order, prefilled, directory)
        case EncodeSamples(encoder):
            facts = _sense(order, encoder, directory)
        case FeedPrompts(encoder):
            facts = _answer(order, encoder, directory)
        case _:
            assert_never(order.asked)
    return Answer(facts.runtime, facts.version, facts.arithmetic, cpu_features(), None)


def _decode(order: Order, prefilled: int, directory: Path) -> SessionFacts:
    tokens = np.load(directory / TOKENS)
    _say(f"opening {order.artifact.path}")
    with open_session(Path(order.release), order.artifact, threads=order.threads) as session:
        np.save(directory / LOGITS, _feed(session, tokens, prefilled))
        return session.facts


def _sense(order: Order, encoder: EncoderArtifact, directory: Path) -> EncoderFacts:
    opening = _opening(order, encoder)
    _say(f"opening the {encoder.component} tower of {encoder.path}")
    with (
        open_image_encoder(opening)
        if encoder.component == "vision"
        else open_sound_encoder(opening) as tower
    ):
        rows = []
        for number, sample in enumerate(read_samples(directory)):
            _say(f"sample {number}")
            rows.append(tower.rows(sample))  # type: ignore[arg-type]  # of the tower's own kind
        write_numbers(directory / ROWS, rows)
        return tower.facts


def _answer(order: Order, encoder: EncoderArtifact, directory: Path) -> SessionFacts:
    _say(f"opening {encoder.decoder}")
    with open_multimodal_session(_opening(order, encoder)) as session:
        write_numbers(directory / BEHIND, behind_each(session, read_prompts(directory), _say))
        return session.facts


def _opening(order: Order, encoder: EncoderArtifact) -> EncoderOpening:
    return EncoderOpening(Path(order.release), encoder, order.artifact, order.threads, "fp32")


def _feed(session: Session, tokens: Tokens, prefilled: int) -> Logits:
    """Logits of the decoded tokens, [decoded, vocab]."""
    if prefilled:
        _say(f"prefill of {prefilled} tokens")
        session.prefill(tokens[:prefilled])
    rows = np.empty((len(tokens) - prefilled, session.facts.vocab_size), np.float32)
    for i, token in enumerate(tokens[prefilled:]):
        _say(f"decode at position {prefilled + i}")
        rows[i] = session.decode(int(token))
    return rows


def _say(what: str) -> None:
    print(what)  # noqa: T201  # this process's output is how it is watched
