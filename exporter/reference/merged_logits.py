"""Logits of transformers' text model behind images and sounds: several prompts at once, where asked.

The layers are read once for all prompts, the head once. Not about what is said of the logits
(`exporter.validation.logits_behind_rows`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from exporter.progress import Progress
from exporter.reference.leads import Decisions, TopTwo
from exporter.reference.logits_file import LogitsFile
from exporter.reference.streamed import LogitsSink, StreamedReference, ToFile
from exporter.reference.weights import ReferenceWeights
from runtimes.multimodal.session import PlacedRows
from runtimes.session import Tokens


@dataclass(frozen=True)
class AskedPrompt:
    """at: [positions], those whose logits are wanted."""

    tokens: Tokens
    placed: tuple[PlacedRows, ...]
    at: NDArray[np.int64]


def merged_logits(
    weights: ReferenceWeights, prompts: Sequence[AskedPrompt], path: Path, progress: Progress
) -> LogitsFile:
    """At the positions asked for, of one prompt after the other, in a file at `path`."""
    reference = StreamedReference(weights)
    file = LogitsFile.create(path, sum(len(each.at) for each in prompts), reference.vocab_size)
    _run(reference, prompts, ToFile(file), progress)
    return file


def merged_decisions(
    weights: ReferenceWeights, prompts: Sequence[AskedPrompt], progress: Progress
) -> list[Decisions]:
    """What is chosen behind the positions of each prompt."""
    sink = TopTwo(sum(len(each.at) for each in prompts))
    _run(StreamedReference(weights), prompts, sink, progress)
    whole, found, at = sink.decisions(), [], 0
    for prompt in prompts:
        stop = at + len(prompt.at)
        found.append(Decisions(whole.choices[at:stop], whole.leads[at:stop]))
        at = stop
    return found


def _run(
    reference: StreamedReference, prompts: Sequence[AskedPrompt], sink: LogitsSink, progress: Progress
) -> None:
    batches = [reference.merged(each.tokens, each.placed) for each in prompts]
    computed = reference.final_states(batches, progress, [each.at for each in prompts])
    step = reference.head_rows(computed.last_hidden_state.shape[:2].numel())
    for start, block in reference.head(computed, step):
        sink.take(start, block.numpy())
        progress(f"{reference.weights.description}: head", start + block.shape[1], reference.vocab_size)
