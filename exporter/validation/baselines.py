"""The references of one validation: logits of transformers on both checkpoints, kept on disk.

Made once, before any artifact runs, and compared with each other: the price of quantisation. Not
about artifacts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from exporter.progress import Progress
from exporter.quantization.store.unpacked_weights import UnpackedWeights
from exporter.reference.logits_file import LogitsFile
from exporter.reference.streamed import reference_logits
from exporter.reference.weights import OriginalWeights
from exporter.validation.findings import ValidationRequest
from exporter.validation.statistics import Agreement, agree
from runtimes.session import Tokens

ORIGINAL, QUANTISED = "original", "quantised"
READ_BYTES = 64 << 20  # of logits read at once


@dataclass(frozen=True)
class References:
    """None where the request does not have what it is made from. descriptions: name to words."""

    original: LogitsFile | None
    quantised: LogitsFile | None
    descriptions: Mapping[str, str]


def make_references(request: ValidationRequest, tokens: Tokens, scratch: Path) -> References:
    """Run transformers over tokens[:-1] on each checkpoint at hand."""
    original = quantised = None
    descriptions = {}
    if request.source is not None:
        weights = OriginalWeights(request.source)
        descriptions[ORIGINAL] = weights.description
        original = reference_logits(weights, tokens[:-1], scratch / ORIGINAL, request.progress)
    if request.checkpoint is not None:
        unpacked = UnpackedWeights(request.checkpoint)
        descriptions[QUANTISED] = unpacked.description
        quantised = reference_logits(unpacked, tokens[:-1], scratch / QUANTISED, request.progress)
    return References(original, quantised, descriptions)


def compare_files(
    reference: LogitsFile, subject: LogitsFile, tokens: Tokens, progress: Progress
) -> Agreement:
    """How two files of the same positions agree; tokens[1:] are the true next ones."""
    step = max(1, READ_BYTES // (reference.vocab * 4))
    parts = []
    for start in range(0, reference.positions, step):
        stop = min(reference.positions, start + step)
        following = tokens[start + 1 : stop + 1]
        parts.append(agree(reference.rows(start, stop), subject.rows(start, stop), following))
        progress("compare references", stop, reference.positions)
    return Agreement.joined(parts)
