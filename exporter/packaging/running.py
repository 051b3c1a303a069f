"""How a person runs an artifact with the vendor's own tools, as Markdown, one piece per format.

Not about our drivers (`runtimes`). Commands are those of litert-lm 0.18, onnxruntime-genai 0.18 and
swift-transformers 1.x.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import assert_never

from runtimes.manifest import Artifact

PROMPT = "The capital of France is"


def how_to_run(artifact: Artifact) -> str:
    """Markdown with the commands or code for this artifact."""
    match artifact.format:
        case "litertlm":
            return _litertlm(artifact)
        case "tflite":
            return _tflite(artifact)
        case "onnx":
            return _onnx(artifact)
        case "coreml":
            return _coreml(artifact)
        case _:
            assert_never(artifact.format)


def _litertlm(artifact: Artifact) -> str:
    return f"""```sh
pip install litert-lm
litert-lm run {artifact.path} --prompt "{PROMPT}"
```

On a phone, AI Edge Gallery opens the file, and LiteRT-LM's Kotlin, Swift and C++ interfaces load it."""


def _tflite(artifact: Artifact) -> str:
    return f"""The graph without tokenizer, for an app with a loop of its own: signatures
`prefill_{artifact.prefill_chunk}` and `decode`, one pair of KV tensors per layer,
passed in and returned updated.

```python
from ai_edge_litert.compiled_model import CompiledModel

model = CompiledModel.from_file("{artifact.path}")
print(model.get_signature_list())
```"""


def _onnx(artifact: Artifact) -> str:
    path = PurePosixPath(artifact.path)
    folder = path.parent if path.suffix == ".onnx" else path
    return f"""```python
import onnxruntime_genai as og  # pip install onnxruntime-genai

model = og.Model("{folder}")
tokenizer = og.Tokenizer(model)
parameters = og.GeneratorParams(model)
parameters.set_search_options(max_length=64, do_sample=False)
generator = og.Generator(model, parameters)
generator.append_tokens(tokenizer.encode("{PROMPT}"))
while not generator.is_done():
    generator.generate_next_token()
print(tokenizer.decode(generator.get_sequence(0)))
```"""


def _coreml(artifact: Artifact) -> str:
    folder = PurePosixPath(artifact.path).parent
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
print(try await model.generate(config: config, prompt: "{PROMPT}"))
```"""
