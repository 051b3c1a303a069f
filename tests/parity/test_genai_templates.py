"""onnxruntime-genai renders the templates beside graphs as transformers renders the checkpoint's own.

Matrix: templates of each family's kind and of trainers x the fixed conversations. Not asserted: what a
model answers, capitals beyond ASCII (genai's Jinja makes none).
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from exporter.lowering.conversations import CONVERSATIONS, Conversation
from exporter.lowering.onnx.genai_config import copy_tokenizer, write_genai_config
from exporter.lowering.onnx.genai_prompts import genai_prompts
from exporter.lowering.onnx.genai_template import genai_template
from exporter.schemes import INT8_CHANNEL
from runtimes.errors import ArtifactError, RuntimeUnavailable
from tests.chat_templates import FUNCTION_GEMMA, LOOP, TEMPLATES, transformers_prompt
from tests.tiny import tiny_gemma3
from tests.tiny_releases import lowering_order, quantized

ALL = {**TEMPLATES, "of FunctionGemma": FUNCTION_GEMMA}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What lies beside a graph, for a checkpoint without a template."""
    directory = tmp_path_factory.mktemp("genai")
    order = lowering_order(quantized(directory, tiny_gemma3(), INT8_CHANNEL), directory, chat_template=None)
    (beside := directory / "onnx").mkdir()
    write_genai_config(order, "model.onnx", beside)
    copy_tokenizer(order, beside)
    return beside


def prompts(template: str, folder: Path) -> list[tuple[Conversation, str]]:
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    asked = [each for each in CONVERSATIONS if each.asks in template]
    found = genai_prompts(folder, asked)
    assert found is not None
    assert not found.puts_bos
    assert found.template == template
    assert all(isinstance(shown, str) for shown in found.rendered)
    return [(each, str(shown)) for each, shown in zip(asked, found.rendered, strict=True)]


@pytest.mark.parametrize("name", ALL)
def test_genai_renders_what_transformers_does(name: str, folder: Path) -> None:
    template, compared = ALL[name], 0
    for conversation, shown in prompts(genai_template(template), folder):
        expected = transformers_prompt(template, conversation)
        if expected is not None:
            assert shown == expected, conversation.name
            compared += 1
    assert compared >= 4


@pytest.mark.parametrize("name", ALL)
def test_the_rewritten_template_renders_the_same_in_transformers(name: str) -> None:
    for conversation in CONVERSATIONS:
        expected = transformers_prompt(ALL[name], conversation)
        assert transformers_prompt(genai_template(ALL[name]), conversation) == expected


@pytest.mark.parametrize("name", ["tools", "methods", "blocks on lines of their own", "of FunctionGemma"])
def test_the_checkpoints_own_template_would_render_otherwise(name: str, folder: Path) -> None:
    found = prompts(ALL[name], folder)
    assert any(shown != transformers_prompt(ALL[name], each) for each, shown in found)


def test_a_template_genai_cannot_run_renders_otherwise(folder: Path) -> None:
    template = LOOP.replace("%s", "{{ m['content'] | reverse }}")
    (conversation, shown), *_ = prompts(genai_template(template), folder)
    assert shown != transformers_prompt(template, conversation)


def test_a_graph_without_a_template_has_nothing_to_render(tmp_path: Path) -> None:
    assert genai_prompts(tmp_path, CONVERSATIONS) is None


def test_without_genai_nothing_is_rendered(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime_genai", None)
    with pytest.raises(RuntimeUnavailable, match="pip install onnxruntime-genai"):
        prompts("{{ messages }}", folder)


def test_a_damaged_tokenizer_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "genai_config.json").write_bytes((folder / "genai_config.json").read_bytes())
    (tmp_path / "chat_template.jinja").write_text("{{ messages }}", encoding="utf-8")
    (tmp_path / "tokenizer.json").write_text("{", encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"onnxruntime-genai .* cannot open it"):
        genai_prompts(tmp_path, CONVERSATIONS)
