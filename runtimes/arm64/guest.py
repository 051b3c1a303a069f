"""What runs on the emulated CPU: an artifact opened and fed as an order says, its logits written to a file.

Reads `order.json` and `tokens.npy` of a directory; writes `logits.npy` and, last, `answer.json`. Each line
it prints says what it is about to do, so that whoever waits knows where it stopped. Not about processes
(`emulation`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from runtimes.errors import RuntimesError
from runtimes.manifest import Artifact
from runtimes.open import open_session
from runtimes.records import from_plain, to_plain
from runtimes.session import Session, Tokens
from runtimes.strict_json import read_json_object

ORDER, TOKENS, LOGITS, ANSWER = "order.json", "tokens.npy", "logits.npy", "answer.json"
CPU_FACTS = Path("/proc/cpuinfo")  # QEMU's, of the CPU that is emulated


@dataclass(frozen=True)
class Order:
    """release: directory. prefilled: how many of the tokens are given by prefill, the others by decode."""

    release: str
    artifact: Artifact
    prefilled: int
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
    tokens = np.load(directory / TOKENS)
    try:
        answer = _run(order, tokens, directory / LOGITS)
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


def _run(order: Order, tokens: Tokens, logits: Path) -> Answer:
    print(f"opening {order.artifact.path}")  # noqa: T201  # this process's output is how it is watched
    with open_session(Path(order.release), order.artifact, threads=order.threads) as session:
        found = _feed(session, tokens, order.prefilled)
        facts = session.facts
    np.save(logits, found)
    return Answer(facts.runtime, facts.version, facts.arithmetic, cpu_features(), None)


def _feed(session: Session, tokens: Tokens, prefilled: int) -> np.ndarray:
    """Logits of the decoded tokens, [decoded, vocab]."""
    if prefilled:
        print(f"prefill of {prefilled} tokens")  # noqa: T201
        session.prefill(tokens[:prefilled])
    rows = np.empty((len(tokens) - prefilled, session.facts.vocab_size), np.float32)
    for i, token in enumerate(tokens[prefilled:]):
        print(f"decode at position {prefilled + i}")  # noqa: T201
        rows[i] = session.decode(int(token))
    return rows
