"""The toy's driver: an archive, run by the decoder in plain torch."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import torch

from exporter.models.text.families import read_spec
from exporter.models.text.spec import ModelSpec
from runtimes.opening import Opening
from runtimes.session import Session, SessionFacts
from tests.fakes import EagerSession
from tests.toy_runtime.lowering import ARCHITECTURE, GAIN, MATRIX


def open_artifact(asked: Opening) -> Session:
    """The archive as a session."""
    return _open(asked, lambda spec: spec)


def with_another_graph(change: Callable[[ModelSpec], ModelSpec]) -> Callable[[Opening], Session]:
    """A driver that computes something else than the archive's model."""
    return lambda asked: _open(asked, change)


def _open(asked: Opening, change: Callable[[ModelSpec], ModelSpec]) -> Session:
    artifact = asked.artifact
    with np.load(asked.path) as archive:
        architecture = json.loads(archive[ARCHITECTURE].tobytes())
        weights = {
            name.removeprefix(MATRIX).removeprefix(GAIN): torch.from_numpy(archive[name])
            for name in archive.files
            if name != ARCHITECTURE
        }
    facts = SessionFacts(
        runtime="toy",
        version="1",
        arithmetic="fp32",
        vocab_size=artifact.vocab_size,
        context=artifact.context,
        prefill_chunk=artifact.prefill_chunk,
        prefill_logits=artifact.prefill_logits,
    )
    return EagerSession(change(read_spec(architecture, str(asked.path))), weights, facts)
