"""What a graph for browsers has and has not: plain operators, halves of codes, transformers.js' layout.

That it computes the checkpoint: tests/contracts/test_lowering.py. That it is opened:
tests/parity/test_web_pipeline.py.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from exporter.errors import LoweringError
from exporter.lowering.onnx.graph_builder import LENGTHS
from exporter.lowering.onnx.lowering import OnnxLowering
from exporter.lowering.onnx.read_back import read_back
from exporter.quantization.store.checkpoint import IntegerMatrix
from exporter.schemes import (
    FP16,
    FP32,
    INT4_G32,
    INT4_G32_ZP,
    INT8_CHANNEL,
    INT8_CHANNEL_ZP,
    INT8_G32,
    Scheme,
)
from runtimes.onnx import transformers_js
from tests.corruption.onnx import OpenGraph
from tests.fakes import silent
from tests.tiny import tiny_gemma2, tiny_gemma3, tiny_gemma4_e2b
from tests.tiny_releases import CONTEXT, TinyRelease, lowering_order, quantized

WEB = OnnxLowering(frozenset({"onnx-web"}))
DOWN = "model.layers.0.mlp.down_proj"


@pytest.fixture(scope="module")
def int8_release(tmp_path_factory: pytest.TempPathFactory) -> TinyRelease:
    directory = tmp_path_factory.mktemp("web")
    return TinyRelease.lower(directory, quantized(directory, tiny_gemma3(), INT8_CHANNEL), WEB)


def graph_of(release: TinyRelease) -> OpenGraph:
    path = release.directory / release.artifacts["onnx-web"].path
    return OpenGraph(path, onnx.load(str(path), load_external_data=False))


def every_node(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Those of the graph that are no functions, and those of its functions."""
    own = {function.name for function in model.functions}
    plain = [node for node in model.graph.node if node.op_type not in own]
    return plain + [node for function in model.functions for node in function.node]


@pytest.mark.parametrize(
    "scheme",
    [INT8_CHANNEL, INT8_G32, INT8_CHANNEL_ZP, INT4_G32, INT4_G32_ZP],
    ids=lambda scheme: scheme.name,
)
@pytest.mark.parametrize("config", [tiny_gemma2, tiny_gemma3, tiny_gemma4_e2b])
def test_nothing_but_a_4_bit_matmul_is_of_onnx_runtime_alone(
    config: type, scheme: Scheme, tmp_path: Path
) -> None:
    release = TinyRelease.lower(tmp_path, quantized(tmp_path, config(), scheme), WEB)
    model = graph_of(release).model
    nodes = every_node(model)
    contrib = [node for node in nodes if node.domain == "com.microsoft"]
    assert {node.op_type for node in contrib} == {"MatMulNBits"}
    bits = {attribute.i for node in contrib for attribute in node.attribute if attribute.name == "bits"}
    assert bits == {4}
    assert "Round" not in {node.op_type for node in nodes}, "it runs on the processor, beside WebGPU"


def test_what_an_adapter_leaves_over_is_known_by_the_names_the_graph_gives(
    int8_release: TinyRelease,
) -> None:
    assert transformers_js.LENGTHS == LENGTHS
    counting = [node for node in graph_of(int8_release).model.graph.node if node.name.startswith(LENGTHS)]
    assert {"Shape", "Range"} <= {node.op_type for node in counting}


def test_table_and_head_share_their_bytes_as_halves(int8_release: TinyRelease) -> None:
    graph = graph_of(int8_release)
    places = {
        tensor.name: sorted((entry.key, entry.value) for entry in tensor.external_data)
        for tensor in graph.model.graph.initializer
    }
    assert places["model.embed_tokens.weight.rows"] == places["model.embed_tokens.weight.codes"]
    data = graph.path.with_name(f"{graph.path.name}_data")
    assert {dict(place)["location"] for place in places.values() if place} == {data.name}


def test_a_changed_half_is_a_changed_code(int8_release: TinyRelease, tmp_path: Path) -> None:
    release = int8_release.copy(tmp_path)
    graph = graph_of(release)
    node = next(node for node in graph.nodes("MatMulHalves") if node.name == DOWN)
    codes = graph.data(node.input[1])
    codes[3, 0, 0] ^= 0x10  # the second column's upper half, by its last bit
    matrix = release.checkpoint.matrices[f"{DOWN}.weight"]
    assert isinstance(matrix, IntegerMatrix)
    (stored,) = (rows for rows in read_back(graph.path) if rows.weight == matrix.name)
    assert stored.codes is not None
    difference = stored.codes.astype(np.int16) - matrix.codes(0, matrix.shape[0])
    assert abs(difference[3, 1]) == 16
    assert np.count_nonzero(difference) == 1


def test_halves_must_agree_on_their_scale(int8_release: TinyRelease, tmp_path: Path) -> None:
    release = int8_release.copy(tmp_path)
    graph = graph_of(release)
    node = next(node for node in graph.nodes("MatMulHalves") if node.name == DOWN)
    graph.data(node.input[2])[5, 0] *= 2
    with pytest.raises(LoweringError, match="upper halves of codes have other scales"):
        list(read_back(graph.path))


@pytest.mark.parametrize(
    ("scheme", "dtype", "name"),
    [
        (INT8_CHANNEL, "q8", "model_quantized.onnx"),
        (INT4_G32, "q4", "model_q4.onnx"),
        (FP16, "fp16", "model_fp16.onnx"),
        (FP32, "fp32", "model.onnx"),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_files_are_called_what_the_dtype_in_config_json_asks_for(
    scheme: Scheme, dtype: str, name: str, tmp_path: Path
) -> None:
    release = TinyRelease.lower(tmp_path, quantized(tmp_path, tiny_gemma3(), scheme), WEB)
    config = json.loads((release.directory / "config.json").read_text())
    assert config["transformers.js_config"] == {"dtype": dtype, "use_external_data_format": 1}
    assert {path.name for path in (release.directory / "onnx").iterdir()} == {name, f"{name}_data"}


def test_the_root_holds_what_a_pipeline_reads_before_the_graph(int8_release: TinyRelease) -> None:
    root = int8_release.directory
    config = json.loads((root / "config.json").read_text())
    assert (config["model_type"], config["architectures"]) == ("gemma3_text", ["Gemma3ForCausalLM"])
    assert (config["num_hidden_layers"], config["max_position_embeddings"]) == (7, CONTEXT)
    generation = json.loads((root / "generation_config.json").read_text())
    assert generation["eos_token_id"] == [1, 5]
    tokenizer = json.loads((root / "tokenizer_config.json").read_text())
    assert tokenizer["chat_template"] == "{{ bos_token }}", "transformers.js reads no .jinja file"
    assert (root / "tokenizer.json").is_file()


def test_a_gemma_4_is_run_as_a_model_with_as_many_caches_as_it_has(tmp_path: Path) -> None:
    release = TinyRelease.lower(tmp_path, quantized(tmp_path, tiny_gemma4_e2b(), INT4_G32), WEB)
    config = json.loads((release.directory / "config.json").read_text())
    assert config["model_type"] == "gemma3_text"
    inputs = [value.name for value in graph_of(release).model.graph.input]
    caches = {f"past_key_values.{i}.{part}" for i in range(7) for part in ("key", "value")}
    spec = release.checkpoint.components["text"].spec
    assert config["num_hidden_layers"] == len(spec.cache_layers) < len(spec.layers)
    assert caches == {name for name in inputs if name.startswith("past")}


def test_two_graphs_of_one_name_are_refused_with_what_to_do(tmp_path: Path) -> None:
    both = OnnxLowering(frozenset({"onnx", "onnx-web"}))
    order = lowering_order(quantized(tmp_path, tiny_gemma3(), FP32), tmp_path)
    with pytest.raises(LoweringError, match=r"model\.onnx.*onnx and onnx-web.*one at a time with --format"):
        both.lower(order, tmp_path, silent)
