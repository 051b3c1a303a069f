"""What transformers would have said where a client said something about pictures and sounds.

Not about the client, or what its processor made.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from exporter.reference.merged_logits import AskedPrompt, merged_logits
from exporter.reference.weights import ReferenceWeights
from runtimes.multimodal.session import PlacedRows
from tests.fakes import silent


def likeliest(
    weights: ReferenceWeights,
    sequence: Sequence[int],
    asked: int,
    placed: Sequence[PlacedRows],
    scratch: Path,
) -> list[int]:
    """Its likeliest token for each that a client appended. sequence: the tokens `asked` and these."""
    tokens = np.array(sequence, np.int32)
    behind = np.arange(asked - 1, len(tokens) - 1)
    prompt = AskedPrompt(tokens, tuple(placed), behind)
    logits = merged_logits(weights, [prompt], scratch / "logits", silent)
    choices: list[int] = logits.rows(0, len(behind)).argmax(-1).tolist()
    return choices
