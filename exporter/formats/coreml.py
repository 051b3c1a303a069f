"""Core ML: a stateful ML Program in a `.mlpackage`, executed here by the MIL evaluator.

Twice: in fp32 arithmetic, which shows that the graph is right, and in fp16, which shows what half
precision costs. Not about Apple's runtime, which only macOS and iOS have (`runtimes.coreml`).
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from exporter.byte_size import GIB
from exporter.formats.coreml_memory import held_by_coreml, written_for_coreml
from exporter.formats.family import (
    PROMPT,
    QUESTION,
    AcceleratorFacts,
    Driver,
    FormatFacts,
    MemoryModel,
    NotOnArm64,
    Prompting,
    ReplayLimits,
    RuntimeFamily,
    TestedPackage,
)
from exporter.formats.residual import ScaledStream
from exporter.models.text.spec import LayerSpec, ModelSpec
from runtimes.manifest import Artifact
from runtimes.open import open_session
from runtimes.recorded_calls import ReplayTolerances
from runtimes.session import Session

# The Neural Engine wants the dimensions of states in multiples of it (coremltools #2631). Every published
# Gemma's windows and heads are; what a state holds beyond a window is masked.
STATE_MULTIPLE = 32


def _cache_slots(spec: ModelSpec, layer: LayerSpec, context: int, prefill_chunk: int) -> int:
    """The window in whole multiples, where there is one."""
    if layer.window is None:
        return context
    return min(-(-layer.window // STATE_MULTIPLE) * STATE_MULTIPLE, context)


def _in_fp32(directory: Path, artifact: Artifact) -> Session:
    return open_session(directory, artifact, mil_arithmetic="fp32")


def _in_fp16(directory: Path, artifact: Artifact) -> Session:
    return open_session(directory, artifact, mil_arithmetic="fp16")


GOES_ON = f'print(try await model.generate(config: config, prompt: "{PROMPT}"))'
# A rendered prompt holds the token that begins a text: it is given as tokens, or that would be there twice.
ASKED_IN_TURNS = f"""let tokens = try tokenizer.applyChatTemplate(
    messages: [["role": "user", "content": "{QUESTION}"]])
config.eosTokenId = tokenizer.eosTokenId
config.maxLength = tokens.count + config.maxNewTokens
await model.resetState()
let answer = try await model.generate(config: config, tokens: tokens)
print(tokenizer.decode(tokens: Array(answer.dropFirst(tokens.count))))"""


def _run(artifact: Artifact, prompting: Prompting) -> str:
    """Of swift-transformers 1.x."""
    folder = PurePosixPath(artifact.path).parent
    asked = ASKED_IN_TURNS if prompting.chat else GOES_ON
    return f"""With [swift-transformers](https://github.com/huggingface/swift-transformers) on iOS 18 or
macOS 15 and later (lines for orientation: no export runs them):

```swift
import CoreML
import Models
import Tokenizers

let package = URL(fileURLWithPath: "{artifact.path}")
let tokenizer = try await AutoTokenizer.from(modelFolder: URL(fileURLWithPath: "{folder}"))
let compiled = try await MLModel.compileModel(at: package)
let model = try LanguageModel.loadCompiled(url: compiled, tokenizer: tokenizer)
var config = model.defaultGenerationConfig
config.doSample = false
config.maxNewTokens = 64
{asked}
```"""


# 1/16 holds 1.05e6; the largest peak reported of a Gemma is 8e5 (Gemma 3 27B). Lower, a norm's √eps
# (1e-3) leaves fp16's normal numbers (6.1e-5 and up), and hardware that takes those for 0 would divide
# a row of zeros by it.
COREML_STREAM = ScaledStream(headroom=2.0, smallest=2.0**-4)

EVALUATED_TOKENS = 768  # of prompts tried alone: the MIL evaluator is slow

COREML = RuntimeFamily(
    name="coreml",
    title="Core ML",
    files=(
        FormatFacts(
            "coreml",
            "coreml",
            ("coremltools", "protobuf"),
            _run,
            asked_by_tools=lambda _: "no app on Apple's systems was given a picture.",
            heard_by_tools="no app on Apple's systems was given a sound.",
        ),
    ),
    schemes=frozenset(
        {"int8-channel", "int8-g32", "int8-channel-zp"}
        | {f"int4-{by}{zeros}" for by in ("channel", "g16", "g32", "g64", "g128") for zeros in ("", "-zp")}
        | {"fp16"}
    ),
    other_schemes="its values and scales are fp16, and no other scheme is written for it",
    accelerators={"CPU": AcceleratorFacts(), "GPU": AcceleratorFacts(), "NPU": AcceleratorFacts()},
    negative_scales=None,
    zero_points=None,
    cache_slots=_cache_slots,
    cached_bytes=2,
    rewindable=None,
    context_multiple=STATE_MULTIPLE,
    stream=COREML_STREAM,
    drivers=(
        # The RoPE tables are fp16 in either arithmetic, which is nearly all of what fp32 measures: 1e-6 on
        # the 270M, up to 8e-6 on tiny random models whose attention is far sharper than any trained one's.
        Driver(
            "fp32",
            _in_fp32,
            lowering_limit=1e-5,
            hand_over_limit=1e-5,
            state_limit=3e-2,
            boundary_tokens=EVALUATED_TOKENS,
        ),
        Driver(
            "fp16",
            _in_fp16,
            lowering_limit=1e-3,
            hand_over_limit=1e-3,
            state_limit=1e-1,
            boundary_tokens=EVALUATED_TOKENS,
        ),
    ),
    paths=(),
    arm64=NotOnArm64("Core ML's runtime is macOS' and iOS' own, and the MIL evaluator is on no phone"),
    packages=(
        TestedPackage("coremltools", "Core ML: conversion", "9.0"),
        TestedPackage("protobuf", "Core ML: the program's text", "7"),
    ),
    memory=MemoryModel(
        lowering=GIB,
        weight_copies=1,
        cache_copies=2,  # half precision as fp32
        beside=3 * GIB // 2,  # decoded weights the MIL evaluator keeps
        twin=None,
        twin_matrices=0,
    ),
    holds=held_by_coreml,
    written=written_for_coreml,
    # The gates of fp16 arithmetic: no kernel of Apple's rounds inputs, and none was run by us.
    replay=ReplayLimits(of_4_bits=ReplayTolerances(1e-3, 1e-1), others=ReplayTolerances(1e-3, 1e-1)),
)
