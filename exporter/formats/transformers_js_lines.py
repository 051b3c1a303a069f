"""What a card says of running a release for the web with transformers.js 4: lines for a shell with Node.js.

A test runs each as it stands. Not about other tools for the same weights (`onnx`), nor about executing a
release before it ships (`web_paths`).
"""

from __future__ import annotations

import json

from exporter.formats.family import (
    PICTURE_QUESTION,
    PROMPT,
    QUESTION,
    SOUND_QUESTION,
    PictureAsking,
    Prompting,
)
from runtimes.manifest import Artifact, EncoderArtifact
from runtimes.sounds.processing import SoundProcessing


def run_in_transformers_js(artifact: Artifact, prompting: Prompting) -> str:
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


def ask_in_transformers_js(asking: PictureAsking) -> str:
    """About a picture, as `run_in_transformers_js` has it."""
    placeholder = asking.processing.marks.placeholder
    of_gemma4 = asking.processing.patches is not None
    return _answered(
        "see",
        imports="RawImage",
        prompt=_prompt(asking.prompting, "image", placeholder, PICTURE_QUESTION),
        reading='const picture = await RawImage.read("../picture.png");',
        given="picture, null" if of_gemma4 else "picture",
    )


def hear_in_transformers_js(
    encoder: EncoderArtifact, processing: SoundProcessing, prompting: Prompting
) -> str:
    """About a sound, as `run_in_transformers_js` has it. Node has nothing that reads sounds, and what a
    browser has reads some otherwise than transformers does (docs/web.md)."""
    rate = processing.sampling_rate
    lines = _answered(
        "hear",
        imports="",
        prompt=_prompt(prompting, "audio", processing.marks.placeholder, SOUND_QUESTION),
        reading=f"""// A WAV of one channel, 16 bits and {rate:,} samples a second. In a browser:
// const wav = new Uint8Array(await (await fetch("sound.wav")).arrayBuffer());
const wav = readFileSync("../sound.wav");
const at = new TextDecoder("latin1").decode(wav).indexOf("data") + 8;
const held = new DataView(wav.buffer, wav.byteOffset, wav.byteLength);
const level = (_, i) => held.getInt16(at + 2 * i, true) / 32768;
const sound = Float32Array.from({{ length: held.getUint32(at - 4, true) >> 1 }}, level);""",
        given="null, sound",
    )
    return f"""{lines}

In a browser, `await read_audio("sound.wav", {rate})` of the same package reads every kind of sound that
the browser plays. Samples are the model's own of a WAV of one channel, {rate:,} samples a second, and 24
bits or floats. Of 16 bits a browser makes samples above 0 a trifle too loud (by the lines above they are
right), another rate is resampled by the browser's own filter, and two channels come out 1.41 times as loud
as their mean, which the model expects. It takes one sound in a prompt, the first half minute of it."""


def _prompt(prompting: Prompting, part: str, placeholder: str, question: str) -> str:
    """An expression of JavaScript."""
    if prompting.chat:
        parts = [{"type": part}, {"type": "text", "text": question}]
        messages = json.dumps([{"role": "user", "content": parts}])
        prompt = f"processor.apply_chat_template({messages}, {{ add_generation_prompt: true }})"
    else:
        prompt = json.dumps(f"{prompting.begin}{placeholder}{question}")
    return prompt.replace("`", r"\u0060")  # tokens are a stranger's


def _answered(script: str, *, imports: str, prompt: str, reading: str, given: str) -> str:
    """imports: beside what all need. reading: lines. given: to the processor behind the prompt."""
    names = ", ".join(("AutoModelForImageTextToText", "AutoProcessor", *filter(None, (imports,))))
    files = 'import { readFileSync } from "node:fs";\n' if "readFileSync" in reading else ""
    return f"""With transformers.js, in a shell as above:

```sh
npm install --prefix ../ask --ignore-scripts @huggingface/transformers@4
cat > ../ask/{script}.mjs <<'END'
{files}import {{ {names} }} from "@huggingface/transformers";

const processor = await AutoProcessor.from_pretrained("./");
const model = await AutoModelForImageTextToText.from_pretrained("./");
const prompt = {prompt};
{reading}
const inputs = await processor(prompt, {given}, {{ add_special_tokens: false }});
const answer = await model.generate({{ ...inputs, max_new_tokens: 24, do_sample: false }});
const said = answer.slice(null, [inputs.input_ids.dims.at(-1), null]);
console.log(processor.batch_decode(said, {{ skip_special_tokens: true }})[0]);
END
node ../ask/{script}.mjs
```"""
