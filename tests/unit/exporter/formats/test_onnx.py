"""ONNX: whole caches, and every scheme of its list."""

from __future__ import annotations

import ast
import re
from dataclasses import replace

from exporter.formats.family import Prompting
from exporter.formats.onnx import ONNX
from exporter.formats.table import facts_of
from exporter.models.published import published_spec
from exporter.schemes import INT8_G16
from runtimes.manifest import Artifact

ARTIFACT = Artifact("text", "onnx", "onnx/model.onnx", 2048, 262144, 128, "last")


def how_to_run(path: str, prompting: Prompting = Prompting("<bos>", chat=False)) -> str:  # noqa: B008
    return facts_of("onnx").how_to_run(replace(ARTIFACT, path=path), prompting)


def test_every_layer_keeps_the_whole_context_and_nothing_is_forgotten() -> None:
    spec = published_spec("gemma-3-1b")
    assert {ONNX.cache_slots(spec, layer, 4096, 128) for layer in spec.cache_layers} == {4096}
    assert not ONNX.has_rings(spec, 4096, 128)


def test_it_alone_carries_ggufs_8_bit_groups_of_16() -> None:
    assert ONNX.carries(INT8_G16)
    assert ONNX.negative_scales is None


def test_onnxruntime_genai_is_given_the_folder() -> None:
    assert 'og.Model("onnx")' in how_to_run("onnx/model.onnx")
    assert 'og.Model("onnx")' in how_to_run("onnx")
    assert 'og.Model(".")' in how_to_run("model.onnx")


def test_a_base_model_is_begun_with_its_first_token_and_another_by_its_template() -> None:
    assert 'prompt = "<bos>The capital of France is"' in how_to_run("onnx/model.onnx")
    talking = how_to_run("onnx/model.onnx", Prompting("<bos>", chat=True))
    assert 'tokenizer.apply_chat_template(\'[{"role": "user"' in talking
    assert "<bos>" not in talking


def test_a_token_cannot_leave_the_code_it_stands_in() -> None:
    assert how_to_run("onnx/model.onnx", Prompting("```\n# Free", chat=False)).count("```") == 2


def test_the_python_that_is_said_to_run_a_graph_is_python() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", how_to_run("onnx/model.onnx"), re.DOTALL)
    ast.parse(code)
