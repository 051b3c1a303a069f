"""A picture or a sound, prepared and answered about by transformers.js: in Node, or in a headless Chromium.

Its own processor opens the file and its own class answers, greedily; what the processor made comes back
with the answer, so that others can be given the same. Not about text alone (`transformers_js`), nor what
rows and logits are compared with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from runtimes.encoder import EncodedRows
from runtimes.errors import ExecutionFailed
from runtimes.images.prepared import PreparedImage
from runtimes.multimodal.session import RowKind
from runtimes.onnx.transformers_js import EngineRun, left_over, run_script
from runtimes.session import Logits, Tokens
from runtimes.sounds.prepared import PreparedSound

# In names of operators that compute with activations. What is left to the processor beside these finds out
# where patches, frames and rows are, or takes one picture after the other.
COMPUTING = ("MatMul", "Gemm", "Conv", "Attention", "Softmax", "Normalization", "Gelu")


@dataclass(frozen=True)
class SampleToTell:
    """file: of a picture, or of a sound of 16 bits at 16 kHz in one channel. soft: the id that stands for a
    row. prompt: with the placeholder. answered: tokens to say."""

    kind: RowKind
    file: Path
    soft: int
    prompt: str
    answered: int


@dataclass(frozen=True)
class SampleTold:
    """prepared: what the processor made, without padding. rows: what the encoder made of that. tokens: of
    the prompt, `prompted`, and of the answer. logits: by which each of the answer's was chosen,
    [answered, vocab]. version, device, left_over: as of `TokensTaken`."""

    prepared: PreparedImage | PreparedSound
    rows: EncodedRows
    tokens: Tokens
    prompted: int
    logits: Logits
    version: str
    device: str
    left_over: tuple[str, ...] | None


def tell_sample(run: EngineRun, asked: SampleToTell) -> SampleTold:
    """Execute. Raises RuntimeUnavailable for what is not there, ExecutionFailed for what goes wrong."""
    facts = run_script(
        run,
        {
            "kind": asked.kind,
            "sample": str(asked.file.resolve()),
            "prompt": asked.prompt,
            "new_tokens": asked.answered,
        },
    )
    tokens, prompted = run.array(facts, "tokens").reshape(-1).astype(np.int32), int(facts["prompted"])
    logits, rows = run.array(facts, "logits"), run.array(facts, "rows")
    soft_tokens = int((tokens[:prompted] == asked.soft).sum())
    rows = rows.reshape(-1, rows.shape[-1])
    if (
        len(logits) != asked.answered
        or len(tokens) != prompted + asked.answered
        or len(rows) != soft_tokens
    ):
        raise ExecutionFailed(
            f"{run}: {asked.file.name} became {len(rows)} rows for {soft_tokens} tokens, and its answer "
            f"has {len(logits)} of {asked.answered} tokens; export again"
        )
    return SampleTold(
        prepared=_image(run, facts, soft_tokens)
        if asked.kind == "image"
        else _sound(run, facts, soft_tokens),
        rows=rows,
        tokens=tokens,
        prompted=prompted,
        logits=logits,
        version=facts["version"],
        device=run.says(facts),
        left_over=_computing(left_over(run, facts)),
    )


def _computing(operators: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """Those in `COMPUTING`; None where there is no adapter to take them."""
    if operators is None:
        return None
    return tuple(each for each in operators if any(word in each.split(" (")[0] for word in COMPUTING))


def _image(run: EngineRun, facts: Mapping[str, Any], soft_tokens: int) -> PreparedImage:
    pixels = run.array(facts, "pixels")
    if "positions" not in facts["shapes"]:
        return PreparedImage(pixels, None, soft_tokens)
    positions = run.array(facts, "positions").astype(np.int32)
    there = positions[0, :, 0] >= 0
    return PreparedImage(pixels[:, there], positions[:, there], soft_tokens)


def _sound(run: EngineRun, facts: Mapping[str, Any], soft_tokens: int) -> PreparedSound:
    there = run.array(facts, "mask")[0] > 0
    return PreparedSound(run.array(facts, "features")[:, there], soft_tokens)
