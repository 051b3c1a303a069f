"""A bundle that says what another says, around a model of two operations: LiteRT-LM opens it at once.

Rendering a prompt needs the tokenizer and the metadata of a bundle, and not its weights. Not about
rendering (`engine_prompts`).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

from exporter.lowering.litert.bundle_models import token_model
from exporter.lowering.litert.container_writing import SectionSource, write_container
from exporter.lowering.litert.writing import IDENTIFIER
from runtimes.litert.container import EXECUTOR_KIND, TFLITE_KIND, WEIGHTS_KIND, Section, read_sections

# The last says which masks a model takes; the engine does not open another model with it.
OF_MODELS = (TFLITE_KIND, WEIGHTS_KIND, EXECUTOR_KIND)
CHUNK, CONTEXT = 8, 16
FLOAT, INTEGER = schema.TensorType.FLOAT32, schema.TensorType.INT32


def write_stand_in(bundle: Path, out: Path) -> None:
    """Raises ArtifactError for a bundle that cannot be read."""
    kept = [each for each in read_sections(bundle) if each.kind not in OF_MODELS]
    sections = [SectionSource(each.kind, (), _copied(bundle, each)) for each in kept]
    model = _model()
    write_container(out, [*sections, *token_model(lambda file: _put(file, model))], uuid.UUID(int=0))


def _copied(bundle: Path, section: Section) -> Callable[[BinaryIO], None]:
    def write(out: BinaryIO) -> None:
        with bundle.open("rb") as file:
            file.seek(section.begin)
            _put(out, file.read(section.end - section.begin))

    return write


def _put(file: BinaryIO, data: bytes) -> None:
    file.write(data)


def _model() -> bytes:
    """Both signatures that the engine looks for; the cache doubles and the logit is the position."""
    model = schema.ModelT()
    model.version, model.buffers = 3, [schema.BufferT()]
    model.operatorCodes = [_code(schema.BuiltinOperator.ADD), _code(schema.BuiltinOperator.CAST)]
    model.subgraphs, model.signatureDefs = [], []
    for key, tokens in ((f"prefill_{CHUNK}", CHUNK), ("decode", 1)):
        _add_signature(model, key, tokens)
    builder = flatbuffers.Builder(4096)
    builder.Finish(model.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


def _code(operator: int) -> Any:
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = operator
    code.version = 1
    return code


def _add_signature(model: Any, key: str, tokens: int) -> None:
    graph = schema.SubGraphT()
    graph.name, graph.tensors, graph.operators = key.encode(), [], []
    shapes = {"kv_cache_k_0": [1, 1, CONTEXT, 4], "kv_cache_v_0": [1, 1, 4, CONTEXT]}
    inputs = {
        "tokens": _tensor(graph, "tokens", [1, tokens], INTEGER),
        "input_pos": _tensor(graph, "input_pos", [tokens], INTEGER),
        "mask": _tensor(graph, "mask", [1, 1, tokens, CONTEXT], FLOAT),
        **{name: _tensor(graph, name, shape, FLOAT) for name, shape in shapes.items()},
    }
    outputs = {name: _tensor(graph, f"{name}_out", shape, FLOAT) for name, shape in shapes.items()}
    for name, out in outputs.items():
        options = schema.BuiltinOptions.AddOptions, schema.AddOptionsT()
        _add_operator(graph, 0, [inputs[name], inputs[name]], out, options)
    if key == "decode":
        cast = schema.CastOptionsT()
        cast.inDataType, cast.outDataType = INTEGER, FLOAT
        outputs["logits"] = _tensor(graph, "logits", [1, 1, 1], FLOAT)
        _add_operator(
            graph, 1, [inputs["input_pos"]], outputs["logits"], (schema.BuiltinOptions.CastOptions, cast)
        )
    graph.inputs, graph.outputs = list(inputs.values()), list(outputs.values())
    model.subgraphs.append(graph)
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = key.encode(), len(model.subgraphs) - 1
    signature.inputs, signature.outputs = _named(inputs), _named(outputs)
    model.signatureDefs.append(signature)


def _tensor(graph: Any, name: str, shape: list[int], kind: int) -> int:
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type, tensor.buffer = name.encode(), shape, kind, 0
    tensor.hasRank = True
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def _add_operator(graph: Any, code: int, inputs: list[int], output: int, options: tuple[int, Any]) -> None:
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = code, inputs, [output]
    operator.builtinOptionsType, operator.builtinOptions = options
    graph.operators.append(operator)


def _named(tensors: Mapping[str, int]) -> list[Any]:
    found = []
    for name, index in tensors.items():
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = name.encode(), index
        found.append(entry)
    return found
