"""Recording calls of a release's artifacts, for whoever checks it without the checkpoint.

A short prefill, chunks past the sliding window where the text goes so far, and decode steps after each:
what rotations, masks, chunk boundaries and a cache that slides have a part in. Not about the file
(`runtimes.recorded_calls`), nor about making the calls again (`runtimes.replaying`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from exporter.formats.table import family_of
from exporter.models.text.spec import ModelSpec
from exporter.planning.plan import Plan
from exporter.progress import Progress
from exporter.reference.texts import Texts
from runtimes.manifest import Artifact
from runtimes.open import open_session
from runtimes.recorded_calls import (
    RECORD_NAME,
    SCHEMA_VERSION,
    CallKind,
    ExpectedLogits,
    RecordedArtifact,
    RecordedCall,
    RecordedCalls,
    RecordedText,
)
from runtimes.replaying import make_call, summary
from runtimes.session import Logits, SessionFacts, Tokens

SHORT, DECODED = 5, 4  # tokens of the first prefill; one-token calls after it
LAST_DECODED = 12  # and after all chunks
POSITIONS = 4  # of a prefill that are kept at most, its last among them
# What tokenizers do differently: blanks, digits, scripts, bytes beyond the vocabulary, marks of a chat.
PROBES = (
    "The capital of France is",
    "  two  blanks,\ttabs\n\n\nand lines \n",
    "1234567.89 0x1F 2026-11-27",
    "def f(x):\n    return {'a': x ** 2}  # ok?",
    "Ça va, Grüße, naïve ﬁancé",
    "世界の首都は東京です。한국어",
    "مرحبا بالعالم ਪੰਜਾਬੀ हिन्दी",
    "🙂👩‍👩‍👧 \u200b\ufeff",
    "<start_of_turn>user\nHello<end_of_turn>\n<|turn>model",
)


@dataclass(frozen=True)
class Recording:
    """What is recorded, of which artifacts: those of the release at `release` that run here. text: of it no
    more is taken than what goes past the windows."""

    release: Path
    artifacts: tuple[Artifact, ...]
    plan: Plan
    spec: ModelSpec
    texts: Texts
    text: Tokens


def write_recorded_calls(order: Recording, progress: Progress) -> Path:
    """Write recorded_calls.json; returns its path. An artifact whose logits are not finite is left out: it
    has failed its validation, and there is nothing to expect of it."""
    windows = [layer.window for layer in order.spec.layers if layer.window is not None]
    found = []
    for i, artifact in enumerate(order.artifacts):
        progress("record calls", i, len(order.artifacts))
        if (recorded := _recorded(order, artifact, max(windows, default=0))) is not None:
            found.append(recorded)
    progress("record calls", len(order.artifacts), len(order.artifacts))
    path = order.release / RECORD_NAME
    record = RecordedCalls(SCHEMA_VERSION, tuple(_probes(order.texts)), tuple(found))
    path.write_text(record.to_json(), encoding="utf-8")
    return path


def plan_calls(facts: SessionFacts, available: int, window: int) -> Iterator[tuple[CallKind, int, int]]:
    """Calls as (kind, start, end), for a text of `available` tokens."""
    chunk = facts.prefill_chunk
    room = min(facts.context, available)
    reach = min(room, max(2 * chunk, window + chunk // 2) + LAST_DECODED)
    at = min(SHORT, reach - 1)
    if at:
        yield "prefill", 0, at
    end = min(at + DECODED, reach)
    while True:
        for start in range(at, end):
            yield "decode", start, start + 1
        at = end
        if at >= reach:
            return
        prefilled = min(chunk, reach - LAST_DECODED - at)
        if prefilled > 0:
            yield "prefill", at, at + prefilled
            at += prefilled
        left = reach - at
        end = reach if left <= LAST_DECODED else at + 1


def _probes(texts: Texts) -> Iterator[RecordedText]:
    for each in PROBES:
        yield RecordedText(each, tuple(texts.tokenizer.encode(each, add_special_tokens=False).ids))


def _recorded(order: Recording, artifact: Artifact, window: int) -> RecordedArtifact | None:
    calls = []
    with open_session(order.release, artifact) as session:
        facts = session.facts
        for kind, start, end in plan_calls(facts, len(order.text), window):
            call = RecordedCall(kind, tuple(order.text[start:end].tolist()), ())
            logits = make_call(session, call)
            if not np.isfinite(logits).all():
                return None
            calls.append(replace(call, expected=_expected(call, logits)))
    family = family_of(artifact.format)
    return RecordedArtifact(
        artifact=artifact.path,
        recorded_by=f"{facts.runtime} {facts.version}, {facts.arithmetic}",
        tolerances=family.replay.of(order.plan.components["text"].schemes.values()),
        calls=tuple(calls),
    )


def _expected(call: RecordedCall, logits: Logits) -> tuple[ExpectedLogits, ...]:
    """Of the positions that came back, the last of the call's, a few."""
    if not len(logits):
        return ()
    kept = np.unique(np.linspace(0, len(logits) - 1, min(POSITIONS, len(logits))).astype(int))
    before = len(call.tokens) - len(logits)
    return tuple(summary(logits[row], before + int(row)) for row in kept)
