"""`ExecutionPath`: a way to execute an artifact's bytes other than by this process's ordinary CPU driver.

LiteRT on a GPU, ONNX in a browser, either on an emulated processor. A path runs in a process of its own,
because its failures are crashes, and says of itself what it ran on. Not about comparing what it gives
(`exporter.validation.path_check`); what a family's paths are stands in its room.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from runtimes.encoder import EncodedRows
from runtimes.formats import Format
from runtimes.manifest import Artifact, EncoderArtifact
from runtimes.multimodal.fed_prompt import FedPrompt
from runtimes.multimodal.passed_files import Prepared
from runtimes.multimodal.session import RowKind
from runtimes.session import Logits, Tokens

DECODED = 64  # a software GPU takes a second or more for each
COPYING_SECONDS = 900.0  # a software GPU takes a minute for 128 tokens of Gemma 3 270M

OWN_KL = 0.1  # nats; rows of nothing move logits of tiny models by 0.35 to 0.6

PathReference = Literal["float twin", "CPU"]
"""What a path's logits are held against. float twin: the graph with dequantised weights in fp32, where the
path rounds no activations. CPU: the same artifact in its ordinary driver, where the path computes alike."""


@dataclass(frozen=True)
class PathOrder:
    """What a path is to execute.

    directory: of the release, which is not written to. tokens: fed from an empty cache, the first
    `prefilled` of them by prefill and each of the others by decode. scratch: existing directory for what
    the path writes. seconds: time limit for all of it, compiling included.
    """

    directory: Path
    artifact: Artifact
    tokens: Tokens
    prefilled: int
    scratch: Path
    seconds: float

    @property
    def decoded(self) -> int:
        """Tokens given by decode, whose logits come back."""
        return len(self.tokens) - self.prefilled


@dataclass(frozen=True)
class PathAnswer:
    """What came back of a path.

    logits: of the tokens decode was given, [decoded, vocab]. runtime, version: as `SessionFacts` has them.
    device: what computed, in its own words ("llvmpipe (LLVM 15.0.6, 256 bits)"). arithmetic: in words.
    left_over: operations the accelerator did not take, empty where it took all; None where the path has
    no accelerator to take them. remarks: what else should be known, a sentence each.
    """

    logits: Logits
    runtime: str
    version: str
    device: str
    arithmetic: str
    left_over: tuple[str, ...] | None
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class SensingOrder:
    """A tower, and the decoder that takes its rows. artifact: the format's for text. directory, scratch,
    seconds: as of `PathOrder`."""

    directory: Path
    encoder: EncoderArtifact
    artifact: Artifact
    scratch: Path
    seconds: float


@dataclass(frozen=True)
class RowsAnswer:
    """rows: of each sample. The others as of `PathAnswer`."""

    rows: tuple[EncodedRows, ...]
    device: str
    left_over: tuple[str, ...] | None


@dataclass(frozen=True)
class BehindAnswer:
    """logits: of each prompt, [decoded, vocab]; none of one there is no room for where it stands. The
    others as of `PathAnswer`."""

    logits: tuple[Logits, ...]
    device: str
    left_over: tuple[str, ...] | None


@dataclass(frozen=True)
class Sensing:
    """How a path executes towers and what takes their rows. rows, behind: raise as a path's `run`.

    relative, cosine: how far rows may be from transformers' on the quantised tower, as `RowsLimit` has
    them. rounding: times the KL of text alone that logits behind rows may stray, where that is more than
    the path's limit. own: mean KL that logits behind rows of the path's own tower may stray, in nats.
    most_work: multiplications of the samples, or of the prompts, that what is here does in minutes; asked
    where the path is here.
    """

    rows: Callable[[SensingOrder, tuple[Prepared, ...]], RowsAnswer]
    behind: Callable[[SensingOrder, tuple[FedPrompt, ...]], BehindAnswer]
    relative: float
    cosine: float
    rounding: float
    own: float
    most_work: Callable[[], float] = lambda: math.inf


@dataclass(frozen=True)
class AnsweringOrder:
    """A picture or a sound that a path is to prepare and answer about. artifact: the text's. file: of the
    sample. soft: the id that stands for a row. prompt: with the sample's placeholder. answered: tokens to
    say. directory, scratch, seconds: as of `PathOrder`."""

    directory: Path
    artifact: Artifact
    encoder: EncoderArtifact
    kind: RowKind
    file: Path
    soft: int
    prompt: str
    answered: int
    scratch: Path
    seconds: float


@dataclass(frozen=True)
class Answered:
    """prepared: what the path made of the file. rows: what its encoder made of that. tokens: of the prompt,
    `prompted`, and of the answer. logits: by which each of the answer's was chosen, [answered, vocab].
    left_over: operations that compute with activations. The others as of `PathAnswer`."""

    prepared: Prepared
    rows: EncodedRows
    tokens: Tokens
    prompted: int
    logits: Logits
    runtime: str
    version: str
    device: str
    arithmetic: str
    left_over: tuple[str, ...] | None


@dataclass(frozen=True)
class Answering:
    """How a path answers about pictures and sounds: from a file, by a client's own processor. run: raises
    as a path's. relative, cosine: how far rows may be from the artifact's own, as `RowsLimit` has them.
    most_work: multiplications of a picture that it does in minutes."""

    run: Callable[[AnsweringOrder], Answered]
    relative: float
    cosine: float
    most_work: float = math.inf


@dataclass(frozen=True)
class ExecutionPath:
    """One path of a runtime family.

    name: in tables and tests ("litert-gpu-fp16"). title: for people ("LiteRT on the GPU, fp16").
    missing: why it cannot be executed here and what to install, None where it can; answers in a second or
    two and never raises. run: executes an order. Raises RuntimeUnavailable for what is not there after
    all, BeyondAdapter for what this machine's adapter cannot do (neither says anything of the artifact),
    and ArtifactError, SessionError or ExecutionFailed for what is wrong.
    reference, mean_kl_limit: what the logits are held against, and how far they may stray, in nats.
    seconds: time limit of one run. says_nothing_of: what a pass must not be taken for, a clause
    ("no phone's GPU took part"). refused: names of schemes that artifacts it is not for have, and why not.
    most_prefilled: tokens given by prefill at most, None for as many as go past the sliding window.
    decoded: tokens whose logits are compared, where the text has as many. copying_seconds: how long asking
    for facts from far back may take.
    formats: those of the family's it executes, None for all of them.
    sensing: None where it is given text alone. answering: how it answers about pictures and sounds, None
    where it cannot be asked.
    adapter: what is there for it to compute on, in words, with its driver and limits; None where nothing
    is, or where only an execution tells. Answers as `missing` does.
    """

    name: str
    title: str
    missing: Callable[[], str | None]
    run: Callable[[PathOrder], PathAnswer]
    reference: PathReference
    mean_kl_limit: float
    seconds: float
    says_nothing_of: str
    refused: frozenset[str] = frozenset()
    why_refused: str = ""
    most_prefilled: int | None = None
    decoded: int = DECODED
    copying_seconds: float = COPYING_SECONDS
    formats: frozenset[Format] | None = None
    sensing: Sensing | None = None
    answering: Answering | None = None
    adapter: Callable[[], str | None] = lambda: None


def left_out(path: ExecutionPath, why: str) -> ExecutionPath:
    """The same path, not to be executed for this reason."""
    return replace(path, missing=lambda: why)
