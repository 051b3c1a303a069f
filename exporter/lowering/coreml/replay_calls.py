"""`vectors.json`: calls and what they must return, for a Mac to replay.

Nothing here runs on Apple hardware, so a release carries its own check: a few predictions with their
tokens, and at some positions the largest logits as the evaluator computed them from this package's
bytes. `samples/replay_on_mac.py` compares. Not about measuring them (`exporter.validation`).

Schema, version 1:
    model           path of the package, relative to this file
    arithmetic      how the expected logits were computed, in words
    tolerances      mean_kl, max_kl: limits on the KL divergence over (listed tokens, all the rest)
    calls           in order, on one state: tokens, and expected: position (within the call),
                    log_sum_exp of all logits, top: [token, logit] in falling order
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from runtimes.session import Logits, Tokens

SCHEMA_VERSION = 1
REPLAY_NAME = "vectors.json"
POSITIONS = 4  # of a call that are kept at most, its last among them
TOP = 16  # logits kept at each


@dataclass(frozen=True)
class ReplayTolerances:
    """Limits a Mac's result must keep. The defaults are the gates of fp16 arithmetic here."""

    mean_kl: float = 1e-3
    max_kl: float = 1e-1


@dataclass(frozen=True)
class ReplayCall:
    """One prediction: tokens [tokens] appended to the cache, logits [tokens, vocab] returned."""

    tokens: Tokens
    logits: Logits


def write_replay_calls(
    path: Path,
    calls: Iterable[ReplayCall],
    *,
    model: str,
    arithmetic: str,
    tolerances: ReplayTolerances,
) -> None:
    """Write the vectors of a package. calls: from an empty cache, in order; taken one at a time."""
    document = {
        "schema_version": SCHEMA_VERSION,
        "model": model,
        "arithmetic": arithmetic,
        "tolerances": asdict(tolerances),
        "calls": [_call(call) for call in calls],
    }
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _call(call: ReplayCall) -> dict[str, Any]:
    count = len(call.tokens)
    kept = np.unique(np.linspace(0, count - 1, min(POSITIONS, count)).astype(int))
    return {
        "tokens": [int(token) for token in call.tokens],
        "expected": [_expected(call.logits[at], int(at)) for at in kept],
    }


def _expected(logits: Logits, position: int) -> dict[str, Any]:
    exact = logits.astype(np.float64)
    largest = exact.max()
    # Stable, so that equal logits come in the order of their ids.
    order = np.argsort(-exact, kind="stable")[:TOP]
    return {
        "position": position,
        "log_sum_exp": float(largest + np.log(np.exp(exact - largest).sum())),
        "top": [[int(token), float(exact[token])] for token in order],
    }
