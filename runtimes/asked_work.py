"""What is asked of a process that opens an artifact somewhere else, and the files it is passed in.

On a GPU, where a driver may end the process, and on an emulated processor. Not about carrying it out
(`runtimes.litert.gpu_process`, `runtimes.arm64.guest`), nor about samples and prompts
(`runtimes.multimodal.passed_files`).
"""

from __future__ import annotations

from dataclasses import dataclass

from runtimes.manifest import EncoderArtifact

ORDER, TOKENS, LOGITS, ANSWER = "order.json", "tokens.npy", "logits.npy", "answer.json"


@dataclass(frozen=True)
class FeedTokens:
    """prefilled: how many of the tokens are given by prefill, the others by decode."""

    prefilled: int


@dataclass(frozen=True)
class EncodeSamples:
    """Rows of each sample, by a tower."""

    encoder: EncoderArtifact
