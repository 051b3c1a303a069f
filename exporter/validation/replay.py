"""The calls a Mac replays, measured by the MIL evaluator: chunks of the evaluation text, then decodes.

The chunks go past the sliding window, where the text does: what is left of a cache that slides is the
last thing to take on trust. Not about the file they go to (`exporter.lowering.coreml.replay_calls`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from exporter.lowering.coreml.replay_calls import (
    REPLAY_NAME,
    ReplayCall,
    ReplayTolerances,
    write_replay_calls,
)
from exporter.models.text.spec import ModelSpec
from runtimes.manifest import Artifact
from runtimes.open import open_session
from runtimes.session import Session, Tokens

DECODED = 4  # one-token calls after the chunks


def write_replay(release: Path, artifact: Artifact, spec: ModelSpec, tokens: Tokens) -> Path:
    """Write vectors.json beside a Core ML package of the release; returns its path.

    tokens: some text, cut to half a chunk past the model's windows, or else to one prefill chunk, and a
    few decode steps.
    """
    windows = [layer.window for layer in spec.layers if layer.window is not None]
    package = release / artifact.path
    path = package.parent / REPLAY_NAME
    with open_session(release, artifact, mil_arithmetic="fp16") as session:
        write_replay_calls(
            path,
            _calls(session, tokens, max(windows, default=0)),
            model=package.name,
            arithmetic=f"{session.facts.runtime} {session.facts.version}, {session.facts.arithmetic}",
            tolerances=ReplayTolerances(),
        )
    return path


def _calls(session: Session, tokens: Tokens, window: int) -> Iterator[ReplayCall]:
    chunk = session.facts.prefill_chunk
    room = min(session.facts.context, len(tokens))
    prefilled = max(chunk, window + chunk // 2)
    if prefilled > room - DECODED:
        prefilled = max(1, min(chunk, room - DECODED))
    for start in range(0, prefilled, chunk):
        part = tokens[start : min(start + chunk, prefilled)]
        yield ReplayCall(part, session.prefill(part))
    for at in range(prefilled, min(prefilled + DECODED, room)):
        yield ReplayCall(tokens[at : at + 1], session.decode(int(tokens[at]))[np.newaxis])
