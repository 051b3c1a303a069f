"""ONNX: a graph with its weights beside it, run by ONNX Runtime on a CPU or in a browser.

Not about onnxruntime-genai and transformers.js, which the graphs are named for and people run them with.
"""

from __future__ import annotations

import json
from collections.abc import Callable
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
from exporter.formats.onnx_memory import held_by_onnx, written_for_onnx
from exporter.formats.web_paths import WEB_PATHS
from exporter.models.text.spec import LayerSpec, ModelSpec
from exporter.models.vision.spec import BlockLayers
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


def _run_in_transformers_js(artifact: Artifact, prompting: Prompting) -> str:
    """Of transformers.js 4: one piece for a shell. Packages go beside the release, which would not be as
    sealed with them in it; their install scripts fetch CUDA libraries and nothing else."""
    prompt, said = json.dumps(PROMPT), "answer.generated_text"
    if prompting.chat:
        prompt = json.dumps([{"role": "user", "content": QUESTION}])
        said = "answer.generated_text.at(-1).content"
    return f"""In a shell, in this directory, with Node.js 20 or later:

```sh
npm install --prefix ../ask --ignore-scripts @huggingface/transformers@4
cat > ../ask/ask.mjs <<'END'
import {{ pipeline }} from "@huggingface/transformers";

// This directory, with config.json, which names `{artifact.path}`. In a browser: where it is served.
const generate = await pipeline("text-generation", "./");
const [answer] = await generate({prompt}, {{ max_new_tokens: 24 }});
console.log({said});
END
node ../ask/ask.mjs
```

In a browser, `pipeline("text-generation", …, {{ device: "webgpu" }})` computes on the GPU, and without it
by WebAssembly, on several threads where the page is cross-origin isolated. One prompt at a time."""


def _ask_in_transformers_js(asking: PictureAsking) -> str:
    """Of transformers.js 4, as `_run_in_transformers_js` has it."""
    marks, of_gemma4 = asking.processing.marks, asking.processing.patches is not None
    if asking.prompting.chat:
        parts = [{"type": "image"}, {"type": "text", "text": PICTURE_QUESTION}]
        messages = json.dumps([{"role": "user", "content": parts}])
        prompt = f"processor.apply_chat_template({messages}, {{ add_generation_prompt: true }})"
    else:
        prompt = json.dumps(f"{asking.prompting.begin}{marks.placeholder}{PICTURE_QUESTION}")
    prompt = prompt.replace("`", r"\u0060")  # tokens are a stranger's
    sound = "null, " if of_gemma4 else ""
    return f"""With transformers.js, in a shell as above:

```sh
npm install --prefix ../ask --ignore-scripts @huggingface/transformers@4
cat > ../ask/see.mjs <<'END'
import {{ AutoModelForImageTextToText, AutoProcessor, RawImage }} from "@huggingface/transformers";

const processor = await AutoProcessor.from_pretrained("./");
const model = await AutoModelForImageTextToText.from_pretrained("./");
const prompt = {prompt};
const picture = await RawImage.read("../picture.png");
const inputs = await processor(prompt, picture, {sound}{{ add_special_tokens: false }});
const answer = await model.generate({{ ...inputs, max_new_tokens: 24, do_sample: false }});
const said = answer.slice(null, [inputs.input_ids.dims.at(-1), null]);
console.log(processor.batch_decode(said, {{ skip_special_tokens: true }})[0]);
END
node ../ask/see.mjs
```"""


# As of pictures.
HEARD_BY = "{}, which makes spectra by code of its own, was given no sound here."


def _not_asked_by(tool: str) -> Callable[[BlockLayers], str]:
    """Tests give some of these tools pictures; an export gives none to any."""
    return lambda _: f"{tool}, which prepares pictures by code of its own, was not given one here."


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
            asked_by_tools=_not_asked_by("onnxruntime-genai"),
            heard_by_tools=HEARD_BY.format("onnxruntime-genai"),
        ),
        FormatFacts(
            "onnx-web",
            "transformers.js",
            ("onnx", "onnxruntime"),
            _run_in_transformers_js,
            _ask_in_transformers_js,
            asked_by_tools=_not_asked_by("transformers.js"),
            heard_by_tools=HEARD_BY.format("transformers.js"),
            only_text_of=frozenset({"gemma4_unified_text"}),  # it has no class for Gemma 4 12B
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
