"""The calls a Mac replays, measured by the MIL evaluator: a chunk of the evaluation text, then decodes.

Not about the file they are written to (`exporter.lowering.coreml.vectors`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from exporter.lowering.coreml.vectors import VECTORS_NAME, ReplayCall, ReplayTolerances, write_vectors
from runtimes.manifest import Artifact
from runtimes.open import open_session
from runtimes.session import Session, Tokens

DECODED = 4  # one-token calls after the first


def write_replay(release: Path, artifact: Artifact, tokens: Tokens) -> Path:
    """Write vectors.json beside a Core ML package of the release; returns its path.

    tokens: some text, cut to one prefill chunk and a few decode steps.
    """
    package = release / artifact.path
    path = package.parent / VECTORS_NAME
    with open_session(release, artifact, mil_arithmetic="fp16") as session:
        write_vectors(
            path,
            _calls(session, tokens),
            model=package.name,
            arithmetic=f"{session.facts.runtime} {session.facts.version}, {session.facts.arithmetic}",
            tolerances=ReplayTolerances(),
        )
    return path


def _calls(session: Session, tokens: Tokens) -> Iterator[ReplayCall]:
    room = min(session.facts.context, len(tokens))
    first = max(1, min(session.facts.prefill_chunk, room - DECODED))
    yield ReplayCall(tokens[:first], session.prefill(tokens[:first]))
    for at in range(first, min(first + DECODED, room)):
        yield ReplayCall(tokens[at : at + 1], session.decode(int(tokens[at]))[np.newaxis])
