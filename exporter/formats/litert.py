"""LiteRT: `.tflite` graphs and `.litertlm` bundles, run by XNNPACK on a CPU, and on a GPU where one is.

Not about LiteRT-LM's own engine, which runs the bundles on devices.
"""

from __future__ import annotations

import math

from exporter.byte_size import GIB
from exporter.formats.execution_path import (
    OWN_KL,
    BehindAnswer,
    ExecutionPath,
    PathAnswer,
    PathOrder,
    RowsAnswer,
    Sensing,
    SensingOrder,
)
from exporter.formats.family import (
    PICTURE_QUESTION,
    PROMPT,
    QUESTION,
    SOUND_QUESTION,
    AcceleratorFacts,
    Arithmetic,
    Arm64Limits,
    Driver,
    FormatFacts,
    ImageCalls,
    MemoryModel,
    PictureAsking,
    Prompting,
    ReplayLimits,
    RuntimeFamily,
    TestedPackage,
)
from exporter.formats.litert_graph import cache_slots
from exporter.formats.litert_memory import held_by_litert, written_for_litert
from exporter.formats.residual import ScaledStream
from exporter.models.text.spec import Role
from exporter.models.vision.spec import BlockLayers
from runtimes.manifest import Artifact, EncoderArtifact
from runtimes.multimodal.fed_prompt import FedPrompt
from runtimes.multimodal.passed_files import Prepared
from runtimes.open import open_session
from runtimes.recorded_calls import ReplayTolerances
from runtimes.sounds.processing import SoundProcessing

# Tokens a ring can be set back by after any call: the rest of its room beside the window may be taken by
# what a padded chunk left behind its one token.
REWINDABLE = 2

ANSWERED = 128  # tokens beside a picture's: a question, its template, and an answer

AROUND_AN_IMAGE = 128  # tokens of text that its call also takes
SMALLEST_IMAGE_CALL = 32


def image_call(soft_tokens: int, prefill_chunk: int, context: int) -> int:
    """A power of two, or the context: an image and what stands around it.

    It is the only prefill there is: LiteRT-LM cuts a prompt without regard to images, into calls of the
    longest one that it fills and then of shorter ones, so that beside a shorter one most images would be
    cut. So no image in a prompt no longer than this is.
    """
    length = max(SMALLEST_IMAGE_CALL, prefill_chunk)
    while length < soft_tokens + AROUND_AN_IMAGE:
        length *= 2
    return min(length, context)


def _image_call_in_words(call: int, context: int) -> str:
    return (
        f"a prompt is read {call:,} tokens at a time, which leaves images whole; LiteRT-LM takes no turn "
        f"that begins behind position {context - call:,} of {context:,}"
    )


# ai-edge-litert 2.3: a FULLY_CONNECTED with a block scale, fp16 or fp32, ends the process when a graph is
# compiled, on blocks of 32, 64 and 128. Scales by row are taken.
BLOCKWISE = frozenset({"int4-g32"})
NO_BLOCKS = "integers in blocks end the process of LiteRT's GPU accelerator"

# Mean KL against the float twin, whose activations are not rounded either. docs/accelerators.md has what
# was measured; sliding masks whose constants have one axis measured 0.2 on the 270M and 0.9 on tiny models.
GPU_LIMITS: dict[Arithmetic, float] = {"fp32": 1e-6, "fp16": 2e-3}
GPU_SECONDS = 1800.0  # shaders of a first run took up to 110 s, on two cores that others used too

SOFTWARE_WORK = 2e11  # multiplications: some minutes of two cores

# Of rows: no activation is rounded there either. Tiny towers of all four kinds measure 2e-7 to 1e-6 (fp32)
# and 1e-3 to 9e-3 (fp16) on a software driver.
GPU_ROWS: dict[Arithmetic, tuple[float, float]] = {"fp32": (1e-3, 0.9999), "fp16": (0.05, 0.99)}

# Of tiny models in fp16: up to 9 times as far behind a picture or a sound as on text alone, by a few
# positions that are undecided. Every result of transformers' rounded to fp16 strays as unevenly.
GPU_ROUNDING = 20.0

# Behind rows of its own, whose error in fp16 comes on top: up to 2e-2 there; 2e-10 in fp32.
GPU_OWN: dict[Arithmetic, float] = {"fp32": 1e-6, "fp16": OWN_KL}


def _sensing_on_gpu(arithmetic: Arithmetic) -> Sensing:
    def rows(order: SensingOrder, samples: tuple[Prepared, ...]) -> RowsAnswer:
        from runtimes.litert.gpu import GpuOrder, rows_on_gpu

        path = order.directory / order.encoder.path
        asked = GpuOrder(path, arithmetic, order.scratch, order.seconds)
        found = rows_on_gpu(asked, order.encoder, samples)
        return RowsAnswer(found.rows, found.adapter, found.left_over)

    def behind(order: SensingOrder, prompts: tuple[FedPrompt, ...]) -> BehindAnswer:
        from runtimes.litert.gpu import GpuOrder, behind_rows_on_gpu

        path = order.directory / order.encoder.decoder
        asked = GpuOrder(path, arithmetic, order.scratch, order.seconds)
        found = behind_rows_on_gpu(asked, order.directory, prompts)
        return BehindAnswer(found.logits, found.adapter, found.left_over)

    def most_work() -> float:
        from runtimes.litert import gpu

        return SOFTWARE_WORK if gpu.is_software() else math.inf

    return Sensing(rows, behind, *GPU_ROWS[arithmetic], GPU_ROUNDING, GPU_OWN[arithmetic], most_work)


def _on_gpu(arithmetic: Arithmetic, limit: float) -> ExecutionPath:
    def run(order: PathOrder) -> PathAnswer:
        from runtimes.litert.gpu import GpuOrder, run_on_gpu

        path = order.directory / order.artifact.path
        asked = GpuOrder(path, arithmetic, order.scratch, order.seconds)
        found = run_on_gpu(asked, order.tokens, order.prefilled)
        return PathAnswer(
            found.logits, "LiteRT", found.version, found.adapter, found.arithmetic, found.left_over
        )

    def missing() -> str | None:
        from runtimes.litert import gpu

        return gpu.missing(arithmetic)

    def adapter() -> str | None:
        from runtimes.litert import gpu

        return gpu.adapter_here()

    return ExecutionPath(
        name=f"litert-gpu-{arithmetic}",
        title=f"LiteRT on the GPU, {arithmetic}",
        missing=missing,
        run=run,
        reference="float twin",
        mean_kl_limit=limit,
        seconds=GPU_SECONDS,
        says_nothing_of="no phone's GPU took part",
        refused=BLOCKWISE,
        why_refused=NO_BLOCKS,
        sensing=_sensing_on_gpu(arithmetic),
        adapter=adapter,
    )


def _run_tflite(artifact: Artifact, prompting: Prompting) -> str:
    return f"""The graph without tokenizer, for an app with a loop of its own: signatures
`prefill_{artifact.prefill_chunk}` and `decode`, one pair of KV tensors per layer,
passed in and returned updated.

```python
from ai_edge_litert.compiled_model import CompiledModel

model = CompiledModel.from_file("{artifact.path}")
print(model.get_signature_list())
```"""


def _run_litertlm(artifact: Artifact, prompting: Prompting) -> str:
    """Of litert-lm 0.18, whose command puts a chat template around a prompt, and a cache beside the model,
    unless it is told not to. The token that begins a text it puts before it by itself."""
    plain, prompt = ("", QUESTION) if prompting.chat else ("--no-template ", PROMPT)
    return f"""```sh
pip install litert-lm
litert-lm run {artifact.path} {plain}--cache no --max-num-tokens 128 --top-k 1 --prompt "{prompt}"
```

On a phone, AI Edge Gallery opens the file, and LiteRT-LM's Kotlin, Swift and C++ interfaces load it."""


def _ask_litert_lm(asking: PictureAsking) -> str | None:
    """None for a base model, whose pictures no template places."""
    if not asking.prompting.chat:
        return None
    tokens = asking.processing.soft_tokens + ANSWERED
    return f"""```sh
pip install litert-lm
litert-lm run {asking.encoder.path} --attachment ../picture.png --vision-backend cpu --cache no \\
  --max-num-tokens {tokens} --top-k 1 --prompt "{PICTURE_QUESTION}"
```"""


def _hear_in_litert_lm(
    encoder: EncoderArtifact, processing: SoundProcessing, prompting: Prompting
) -> str | None:
    """None for a model without a chat template, to whose prompts the command attaches nothing."""
    if not prompting.chat:
        return None
    return f"""LiteRT-LM hears it with spectra of its own:

```sh
litert-lm run {encoder.path} --cache no --top-k 1 --audio-backend cpu --attachment ../sound.wav \\
  --prompt "{SOUND_QUESTION}"
```"""


def _asked_by_litert_lm(blocks: BlockLayers) -> str:
    """Of LiteRT-LM 0.18.1's engine on tiny models (tests/parity/test_litert_lm_images.py)."""
    said = (
        "LiteRT-LM's own engine, which opens it on a phone, was not given a picture here; of tiny models "
        "of this kind its answers about one are transformers'"
    )
    if blocks == "none":
        return f"{said}."
    return (
        f"{said} where it lies in one call of the prefill: the engine cuts a prompt that is longer without "
        "regard to pictures, and the first part of one that is cut does not see the rest."
    )


# Soft tokens of a call, 12 s: every sound takes its time, however short it is. Of a longer one LiteRT-LM
# encodes each part by itself; the driver here gives a call what came before it (docs/adr/0035).
SOUND_CALL = 300

# Of LiteRT-LM 0.18.1's engine on tiny models of both kinds (tests/parity/test_litert_lm_sounds.py).
HEARD_BY_LITERT_LM = (
    "LiteRT-LM's own engine, which opens it on a phone, was given no sound here; to tiny models its "
    "answers about one are transformers', but it encodes each part of one longer than 12 s by itself, and "
    "hears the last 40 ms otherwise."
)

# 1/64 holds 1.05e6 with as much headroom; the largest peak reported of a Gemma is 8e5 (Gemma 3 27B).
LITERT_STREAM = ScaledStream(headroom=4.0, smallest=2.0**-6)

LITERT = RuntimeFamily(
    name="litert",
    title="LiteRT",
    files=(
        FormatFacts("tflite", "litert", ("ai-edge-litert",), _run_tflite),
        FormatFacts(
            "litertlm",
            "litert-lm",
            ("ai-edge-litert", "litert-lm", "litert-lm-builder"),
            _run_litertlm,
            how_to_ask=_ask_litert_lm,
            asked_by_tools=_asked_by_litert_lm,
            how_to_hear=_hear_in_litert_lm,
            heard_by_tools=HEARD_BY_LITERT_LM,
            image_calls=ImageCalls(image_call, _image_call_in_words),
            sound_call=SOUND_CALL,
            apart=(Role.PER_LAYER_EMBEDDING,),
            in_gallery=True,
        ),
    ),
    schemes=frozenset({"int8-channel", "int4-channel", "int4-g32", "int2-channel", "fp16", "fp32"}),
    other_schemes="XNNPACK runs no 8-bit codes in groups, and no other scheme is written for it",
    accelerators={"CPU": AcceleratorFacts(), "GPU": AcceleratorFacts(BLOCKWISE, NO_BLOCKS)},
    # A model with a block scale of 0 or below does not load (ai-edge-litert 2.3).
    negative_scales="takes no scale below 0",
    zero_points="it takes no zero points of weights",
    cache_slots=cache_slots,
    cached_bytes=4,
    rewindable=REWINDABLE,
    # Its GPU accelerator drops buffers whose rows are no multiple of 256 bytes (seen in litert-lm 0.18's
    # engine), and no artifact knows what it will run on.
    context_multiple=16,
    stream=LITERT_STREAM,
    drivers=(Driver("fp32", open_session, lowering_limit=1e-6, hand_over_limit=1e-2, state_limit=1e-4),),
    paths=tuple(_on_gpu(arithmetic, limit) for arithmetic, limit in GPU_LIMITS.items()),
    # Gemma 3 270M measures 1e-7 (int8) and 0.044 (int4) on a Cortex-A76, 0.044 (int4) on x86-64.
    arm64=Arm64Limits(of_4_bits=1e-1, others=1e-5),
    packages=(
        TestedPackage("ai-edge-litert", "LiteRT: running .tflite and .litertlm", "2.3"),
        TestedPackage("litert-lm-builder", "LiteRT: the .litertlm bundle", "0.18"),
        TestedPackage("litert-lm", "LiteRT: rendering chat templates", "0.18"),
    ),
    memory=MemoryModel(
        lowering=GIB,
        weight_copies=2,  # the file's pages, and XNNPACK's packed copy of the matrices
        cache_copies=1,
        beside=0,
        twin=5 * GIB // 2,  # fp32 weights that are open at once, and packed
        twin_matrices=0,
    ),
    holds=held_by_litert,
    written=written_for_litert,
    # An emulated Cortex-A76 measures 3e-8 on a tiny model made here, and 2.3e-3 on the 270M in 4 bits.
    replay=ReplayLimits(of_4_bits=ReplayTolerances(2e-2, 0.5), others=ReplayTolerances(1e-4, 1e-2)),
)
