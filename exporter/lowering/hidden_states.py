"""`ShowsHiddenStates`: a lowering whose written graph can be asked what enters each of its layers.

For finding out where a graph that computes wrong begins to. The graph is executed as its float twin is,
from the artifact's own bytes. Not about what the states should be (`validation.first_wrong_layer`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from exporter.formats.family import Arithmetic
from exporter.lowering.interface import Segment
from exporter.models.text.spec import ModelSpec
from runtimes.manifest import Artifact
from runtimes.session import Tokens

HiddenStates = NDArray[np.float32]
"""[layers + 1, tokens, hidden]: what enters each layer and, last, the final norm; at the graph's scale."""

Seen = NDArray[np.bool_]
"""[layers + 1, tokens]: whether a state was."""

FINAL_NORM = "model.norm.weight"


@dataclass(frozen=True)
class HiddenStatesOrder:
    """What to feed: tokens from position 0 on, as many as the segments have."""

    spec: ModelSpec
    arithmetic: Arithmetic
    segments: tuple[Segment, ...]
    tokens: Tokens

    @property
    def norms(self) -> tuple[str, ...]:
        """Names of the gains of the norms that read the residual stream first, one for each state."""
        return (*(f"{layer.prefix}input_layernorm.weight" for layer in self.spec.layers), FINAL_NORM)

    @property
    def readers(self) -> tuple[str, ...]:
        """Names of the matrices that read what those norms give, one for each state."""
        queries = (f"{layer.prefix}self_attn.q_proj.weight" for layer in self.spec.layers)
        return (*queries, self.spec.head_name)


@runtime_checkable
class ShowsHiddenStates(Protocol):
    def hidden_states(
        self,
        release: Path,
        artifact: Artifact,
        out: Path,
        order: HiddenStatesOrder,
        into: HiddenStates,
    ) -> Seen:
        """Execute the artifact's graph in float, using `out`, and put down its hidden states.

        Returns which were seen: a graph need not have each as a value of its own, and a prefill that
        returns no logits computes no more than the caches. Raises LoweringError, ArtifactError and
        SessionError, as making and running a twin does.
        """
        ...


def calls_of(
    segments: Sequence[Segment], tokens: Tokens, prefill_chunk: int
) -> Iterator[tuple[Segment, int, Tokens]]:
    """The calls that segments come to: segment, position of the first token, and tokens [n]."""
    at = 0
    for segment in segments:
        step = prefill_chunk if segment.call == "prefill" else 1
        end = at + segment.tokens
        for start in range(at, end, step):
            yield segment, start, tokens[start : min(end, start + step)]
        at = end
