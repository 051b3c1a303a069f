"""`RuntimeFamily`: everything the toolchain has to know of a runtime, as one value.

Whoever plans, estimates, opens, judges or describes an artifact reads it here, and asks no format its
name. Not about any one runtime: each is a sibling module, and `table` lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from exporter.formats.execution_path import ExecutionPath
from exporter.formats.held_memory import Holds, WrittenBytes, WrittenFiles
from exporter.formats.residual import ScaledStream
from exporter.models.text.spec import LayerSpec, ModelSpec, Role
from exporter.models.vision.spec import BlockLayers
from exporter.schemes import IntegerScheme, Scheme
from runtimes.formats import Accelerator, Format
from runtimes.images.processing import ImageProcessing
from runtimes.manifest import Artifact, EncoderArtifact
from runtimes.recorded_calls import ReplayTolerances
from runtimes.session import Session
from runtimes.sounds.processing import SoundProcessing

PROMPT = "The capital of France is"  # what a person is told to try
QUESTION = "What is the capital of France?"  # where the model answers
PICTURE_QUESTION = "What is in this picture?"
SOUND_QUESTION = "What is in this recording?"

Arithmetic = Literal["fp32", "fp16"]
"""What float operations are computed in."""

CacheSlots = Callable[[ModelSpec, LayerSpec, int, int], int]
"""(model, layer, context, prefill chunk) to the positions the layer's cache holds: the context at most."""

ImageCall = Callable[[int, int, int], int]
"""(soft tokens of an image, prefill chunk, context) to the tokens of the call that an image lies in."""


@dataclass(frozen=True)
class Driver:
    """One way artifacts are executed in a validation, and what it may stray, as mean KL in nats.

    open: (directory, artifact) to a session.
    lowering_limit: a float twin against transformers on the quantised checkpoint. Gemma 3 270M measures
    1e-11 to 4e-11 where all is fp32; a release made from another checkpoint of the same model measured
    1e-2.
    hand_over_limit: an artifact against itself, fed in turns and fed in one manner. Where a runtime rounds
    inputs to int8, a last bit of fp32 decides how, and prefill's kernels sum in another order than
    decode's: on Gemma 3 270M LiteRT differs by 0, ONNX Runtime by 8e-8 (int8) and 3e-3 (int4).
    state_limit: where a float twin failed, what a hidden state of it may stray from transformers' before
    its layer counts as wrong: the difference's length as a share of its own, at the worst position. Tiny
    models of every family stay below 2e-5 in fp32, below 0.013 with RoPE tables in fp16 and 0.06 in fp16.
    boundary_tokens: how many the prompts that are tried alone may have together.
    """

    arithmetic: Arithmetic
    open: Callable[[Path, Artifact], Session]
    lowering_limit: float
    hand_over_limit: float
    state_limit: float
    boundary_tokens: int = 2048


@dataclass(frozen=True)
class Prompting:
    """How a person begins with a model. begin: the token that begins a text, as the vocabulary spells it.

    chat: whether it has a chat template, so that it answers; a base model goes on with a text.
    """

    begin: str
    chat: bool


@dataclass(frozen=True)
class PictureAsking:
    """What a person asks about a picture with."""

    encoder: EncoderArtifact
    processing: ImageProcessing
    prompting: Prompting


@dataclass(frozen=True)
class ImageCalls:
    """Calls that an image lies in whole. tokens: of one. in_words: (its tokens, context) to a sentence's
    rest: what that does to who asks."""

    tokens: ImageCall
    in_words: Callable[[int, int], str]


@dataclass(frozen=True)
class FormatFacts:
    """One format. library: what the Hugging Face Hub calls the software that runs it. packages: those that
    take part in writing and running it, for the record in a release.

    how_to_run: Markdown with the commands or code by which a person runs an artifact with the vendor's
    own tools. how_to_ask, how_to_hear: the same about a picture, and about a sound; None, also as a result,
    where no such tool was seen to answer right.
    asked_by_tools: how those tools fare with pictures by the layers in which an image's tokens see each
    other, and heard_by_tools with sounds, a sentence; None where a validation executes the file in them, or
    says why not.
    image_calls: of artifacts whose calls are as long as that instead of the prefill chunk, where an image's
    tokens see each other. None where every call is a chunk's, or of any length.
    sound_call: soft tokens of a sound that the vendor's own tools hear at once, each part by itself. None
    where they hear all of it.
    only_text_of: text models (transformers' model types) of whose family no client of it takes images or
    sounds.
    apart: tables in models of their own, which a CPU looks up where a GPU runs the rest.
    in_gallery: whether AI Edge Gallery opens it.
    without_gpu: how the same file runs where a GPU cannot take one of its matrices ("by WebAssembly"); None
    where that would be another way of running it than a device's profile means.
    read_whole: its files that are read into memory whole, each of which may be too large for that; None
    where they are mapped or read in parts.
    """

    name: Format
    library: str
    packages: tuple[str, ...]
    how_to_run: Callable[[Artifact, Prompting], str]
    how_to_ask: Callable[[PictureAsking], str | None] | None = None
    how_to_hear: Callable[[EncoderArtifact, SoundProcessing, Prompting], str | None] | None = None
    asked_by_tools: Callable[[BlockLayers], str] | None = None
    heard_by_tools: str | None = None
    image_calls: ImageCalls | None = None
    sound_call: int | None = None
    only_text_of: frozenset[str] = frozenset()
    apart: tuple[Role, ...] = ()
    in_gallery: bool = False
    without_gpu: str | None = None
    read_whole: WrittenFiles | None = None


@dataclass(frozen=True)
class TestedPackage:
    """A package: what it is needed for, and the version this release was tested with."""

    package: str
    purpose: str
    tested: str


@dataclass(frozen=True)
class MemoryModel:
    """What an export takes of this machine's memory for a runtime: upper estimates, in bytes.

    lowering: the interpreter, numpy, torch, what the lowering loads, and row chunks on every processor.
    weight_copies, cache_copies: how many times an opened artifact holds its weights as they are stored,
    and its KV cache. beside: what it holds whatever its size. twin: what a float twin takes that runs
    itself; None where that is no more than the artifact takes. twin_matrices: up to how many bytes of fp32
    matrices it holds them all, beside what the artifact stores; 0 where it never does.
    """

    lowering: int
    weight_copies: int
    cache_copies: int
    beside: int
    twin: int | None
    twin_matrices: int


@dataclass(frozen=True)
class Arm64Limits:
    """How far an artifact on an emulated ARM64 CPU may stray from its float twin, as mean KL in nats.

    of_4_bits: with matrices of fewer than 8 bits, whose inputs the kernels round to int8 once. others: of
    all others, whose inputs keep 16 bits.
    """

    of_4_bits: float
    others: float


@dataclass(frozen=True)
class ReplayLimits:
    """How far an artifact may stray from its own recorded calls where another processor runs it, whose
    kernels sum in another order. of_4_bits, others: as of `Arm64Limits`."""

    of_4_bits: ReplayTolerances
    others: ReplayTolerances

    def of(self, schemes: Iterable[Scheme]) -> ReplayTolerances:
        """For artifacts whose matrices have these schemes."""
        return self.of_4_bits if below_8_bits(schemes) else self.others


def below_8_bits(schemes: Iterable[Scheme]) -> bool:
    """Whether any is of integers that kernels multiply with inputs rounded to int8."""
    return any(isinstance(each, IntegerScheme) and each.bits < 8 for each in schemes)


@dataclass(frozen=True)
class NotOnArm64:
    """A runtime that cannot be had for an emulated CPU, and why, in words."""

    why: str


@dataclass(frozen=True)
class AcceleratorFacts:
    """What is true of a runtime on one accelerator. refused: names of schemes the runtime carries, and not
    there. why: in words, None where nothing is refused."""

    refused: frozenset[str] = frozenset()
    why: str | None = None


@dataclass(frozen=True)
class RuntimeFamily:
    """A runtime, and the formats of one graph that it runs.

    name: in recipes, messages and tables ("litert"). title: for people ("LiteRT").
    schemes: names of those it carries without change. other_schemes: why no others, in words.
    accelerators: what its artifacts can be meant for; one that is not here takes none of them.
    negative_scales, zero_points: why it takes no scales of groups below 0, as GGUF's may be, and no zero
    points, in words; None where it takes them.
    cached_bytes: of a number in the KV cache.
    rewindable: tokens an app may set a session back by once layers forget positions; None where no app is
    offered that.
    context_multiple: what a context is rounded up to, where the model goes as far.
    stream: how small the residual stream is kept; None where it is as large as the model has it.
    drivers: every way its artifacts are executed in a validation, the most exact first.
    paths: the ways beside these that a machine may or may not have.
    arm64: what `validate --cpu` may expect of its artifacts.
    packages: what the doctor looks for.
    holds: what of a device's memory an opened artifact holds. written: how large it is on disk.
    replay: how far its recorded calls may come out otherwise on another processor.
    """

    name: str
    title: str
    files: tuple[FormatFacts, ...]
    schemes: frozenset[str]
    other_schemes: str
    accelerators: Mapping[Accelerator, AcceleratorFacts]
    negative_scales: str | None
    zero_points: str | None
    cache_slots: CacheSlots
    cached_bytes: int
    rewindable: int | None
    context_multiple: int
    stream: ScaledStream | None
    drivers: tuple[Driver, ...]
    paths: tuple[ExecutionPath, ...]
    arm64: Arm64Limits | NotOnArm64
    packages: tuple[TestedPackage, ...]
    memory: MemoryModel
    holds: Holds
    written: WrittenBytes
    replay: ReplayLimits

    @property
    def formats(self) -> tuple[Format, ...]:
        return tuple(each.name for each in self.files)

    def carries(self, scheme: Scheme) -> bool:
        """Whether it stores a matrix of this scheme without change."""
        return scheme.name in self.schemes

    def on(self, accelerator: Accelerator) -> RuntimeFamily:
        """The same runtime where its artifacts are meant for this accelerator, one of `accelerators`."""
        facts = self.accelerators[accelerator]
        if facts.why is None:
            return self
        return replace(self, schemes=self.schemes - facts.refused, other_schemes=facts.why)

    @property
    def limits_of_schemes(self) -> str:
        """Why it carries no more than `schemes`, in words."""
        return "; ".join(why for why in (self.other_schemes, self.zero_points) if why is not None)

    def has_rings(self, spec: ModelSpec, context: int, prefill_chunk: int) -> bool:
        """Whether layers of an artifact forget positions, so that a session can be set back by
        `rewindable` at most."""
        slots = (self.cache_slots(spec, layer, context, prefill_chunk) for layer in spec.cache_layers)
        return self.rewindable is not None and min(slots) < context
