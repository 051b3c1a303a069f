"""ONNX: a graph with its weights beside it, run by ONNX Runtime on a CPU or in a browser.

What a card says of onnxruntime-genai is here. Not about transformers.js (`transformers_js_lines`).
"""

from __future__ import annotations

import json
from pathlib import PurePosixPath

from exporter.byte_size import GIB
from exporter.formats.family import (
    PICTURE_QUESTION,
    PROMPT,
    QUESTION,
    SOUND_QUESTION,
    AcceleratorFacts,
    Arm64Limits,
    Driver,
    FormatFacts,
    MemoryModel,
    PictureAsking,
    Prompting,
    ReplayLimits,
    RuntimeFamily,
    TestedPackage,
)
from exporter.formats.onnx_memory import files_for_a_browser, held_by_onnx, written_for_onnx
from exporter.formats.transformers_js_lines import (
    ask_in_transformers_js,
    hear_in_transformers_js,
    run_in_transformers_js,
)
from exporter.formats.web_paths import WEB_PATHS
from exporter.models.text.spec import LayerSpec, ModelSpec
from runtimes.manifest import Artifact, EncoderArtifact
from runtimes.open import open_session
from runtimes.recorded_calls import ReplayTolerances
from runtimes.sounds.processing import SoundProcessing

# Of fp32 matrices in a float twin's body: enough for Gemma 3 270M (0.4 GiB), not for 1B (2.6). The
# plan counts them, and a decode step reads them all.
TWIN_MATRIX_BYTES = 2 * GIB


GENAI_SOFT_TOKENS = 256  # of a Gemma 3, in onnxruntime-genai 0.18's own code
ANSWERED = 64  # tokens behind a prompt with a picture or a sound


def _cache_slots(spec: ModelSpec, layer: LayerSpec, context: int, prefill_chunk: int) -> int:
    """The context: GroupQueryAttention wants one length for all (`sliding_window_cache` fails in plain
    ONNX Runtime with an empty past, and in onnxruntime-genai below the window)."""
    return context


def _run_in_genai(artifact: Artifact, prompting: Prompting) -> str:
    """Of onnxruntime-genai 0.18, whose tokenizer puts no token before a text by itself."""
    path = PurePosixPath(artifact.path)
    folder = path.parent if path.suffix == ".onnx" else path
    if prompting.chat:
        asked = json.dumps([{"role": "user", "content": QUESTION}])
        prompt = f"tokenizer.apply_chat_template({asked!r})"
    else:
        prompt = json.dumps(prompting.begin + PROMPT).replace("`", r"\u0060")  # the token is a stranger's
    return f"""```python
import onnxruntime_genai as og  # pip install onnxruntime-genai

model = og.Model("{folder}")
tokenizer = og.Tokenizer(model)
prompt = {prompt}
parameters = og.GeneratorParams(model)
parameters.set_search_options(max_length=64, do_sample=False)
generator = og.Generator(model, parameters)
generator.append_tokens(tokenizer.encode(prompt))
while not generator.is_done():
    generator.generate_next_token()
print(tokenizer.decode(generator.get_sequence(0)))
```"""


def _ask_in_genai(asking: PictureAsking) -> str | None:
    """None for what no processor of onnxruntime-genai 0.18 makes: the squares of a Gemma 4 12B, and other
    than 256 soft tokens of a Gemma 3."""
    encoder, processing, prompting = asking.encoder, asking.processing, asking.prompting
    if processing.patches is not None and processing.patches.merged:
        return None
    if processing.square is not None and processing.soft_tokens != GENAI_SOFT_TOKENS:
        return None
    asked = f"{processing.marks.placeholder}{PICTURE_QUESTION}"
    opened = 'images=og.Images.open("../picture.png")'
    return _given_to_genai(encoder, _genai_prompt(asked, prompting), opened)


def _hear_in_genai(
    encoder: EncoderArtifact, processing: SoundProcessing, prompting: Prompting
) -> str | None:
    """None for what no processor of onnxruntime-genai 0.18 makes: the samples of a Gemma 4 12B."""
    if processing.spectrum is None:
        return None
    asked = f"{processing.marks.placeholder}{SOUND_QUESTION}"
    opened = 'audios=og.Audios.open("../sound.wav")'
    return _given_to_genai(encoder, _genai_prompt(asked, prompting), opened)


def _genai_prompt(asked: str, prompting: Prompting) -> str:
    if prompting.chat:
        messages = json.dumps([{"role": "user", "content": asked}])
        prompt = f"tokenizer.apply_chat_template({messages!r})"
    else:
        prompt = json.dumps(prompting.begin + asked)
    return prompt.replace("`", r"\u0060")  # tokens are a stranger's


def _given_to_genai(encoder: EncoderArtifact, prompt: str, opened: str) -> str:
    return f"""onnxruntime-genai opens `{encoder.decoder}` here, for prompts of text alone too.

```python
import onnxruntime_genai as og  # pip install onnxruntime-genai

model = og.Model("{PurePosixPath(encoder.path).parent}")
tokenizer, processor = og.Tokenizer(model), model.create_multimodal_processor()
prompt = {prompt}
given = processor(prompt, {opened})
parameters = og.GeneratorParams(model)
parameters.set_search_options(do_sample=False)
generator = og.Generator(model, parameters)
generator.set_inputs(given)
for _ in range({ANSWERED}):
    if not generator.is_done():
        generator.generate_next_token()
print(tokenizer.decode(generator.get_sequence(0)))
```"""


# Tests give it pictures and sounds; an export does not.
ASKED_BY = "onnxruntime-genai, which prepares pictures by code of its own, was not given one here."
HEARD_BY = "onnxruntime-genai, which makes spectra by code of its own, was given no sound here."


ONNX = RuntimeFamily(
    name="onnx",
    title="ONNX",
    files=(
        FormatFacts(
            "onnx",
            "onnx",
            ("onnx", "onnxruntime", "onnxruntime-genai"),
            _run_in_genai,
            _ask_in_genai,
            _hear_in_genai,
            asked_by_tools=lambda _: ASKED_BY,
            heard_by_tools=HEARD_BY,
        ),
        FormatFacts(
            "onnx-web",
            "transformers.js",
            ("onnx", "onnxruntime"),
            run_in_transformers_js,
            ask_in_transformers_js,
            hear_in_transformers_js,
            only_text_of=frozenset({"gemma4_unified_text"}),  # it has no class for Gemma 4 12B
            without_gpu="by WebAssembly",
            read_whole=files_for_a_browser,
        ),
    ),
    schemes=frozenset(
        {"int8-channel", "int8-g32", "int8-g16", "int8-channel-zp"}
        | {f"int4-{by}{zeros}" for by in ("channel", "g16", "g32", "g64", "g128") for zeros in ("", "-zp")}
        | {"fp16", "fp32"}
    ),
    other_schemes="no other scheme is written for MatMulNBits",
    accelerators={"CPU": AcceleratorFacts(), "GPU": AcceleratorFacts()},
    negative_scales=None,
    zero_points=None,
    cache_slots=_cache_slots,
    cached_bytes=4,
    rewindable=None,
    context_multiple=1,
    stream=None,
    drivers=(Driver("fp32", open_session, lowering_limit=1e-6, hand_over_limit=1e-2, state_limit=1e-4),),
    paths=WEB_PATHS,
    # Gemma 3 270M measures 1e-7 (int8) and 0.0065 (int4) on a Cortex-A76, 0.0069 (int4) on x86-64.
    arm64=Arm64Limits(of_4_bits=2e-2, others=1e-5),
    packages=(
        TestedPackage("onnx", "ONNX: the graph", "1.23"),
        TestedPackage("onnxruntime", "ONNX: running", "1.32"),
        TestedPackage("onnxruntime-genai", "ONNX: rendering chat templates", "0.18"),
    ),
    memory=MemoryModel(
        lowering=GIB,
        weight_copies=2,  # the file's pages, and a packed copy of the matrices
        cache_copies=2,  # one that grows is given and returned
        beside=0,
        twin=None,
        twin_matrices=TWIN_MATRIX_BYTES,
    ),
    holds=held_by_onnx,
    written=written_for_onnx,
    # An emulated Cortex-A76 measures 3e-8 on a tiny model made here, and 9e-4 on the 270M in 4 bits.
    replay=ReplayLimits(of_4_bits=ReplayTolerances(2e-2, 0.5), others=ReplayTolerances(1e-4, 1e-2)),
)
