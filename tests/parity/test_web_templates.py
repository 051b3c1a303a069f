"""transformers.js renders the template of a web release as transformers renders the checkpoint's own.

Matrix: templates of each family's kind and of trainers x the fixed conversations, in Node. Not asserted:
what a model answers (tests/parity/test_web_pipeline.py).
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from exporter.formats.web_paths import PACKAGES_VARIABLE
from exporter.lowering.conversations import CONVERSATIONS, Conversation, NotRendered, Prompts
from exporter.lowering.onnx.web_config import write_web_config
from exporter.lowering.onnx.web_prompts import web_prompts
from exporter.schemes import INT8_CHANNEL
from runtimes.errors import ArtifactError
from tests.chat_templates import FUNCTION_GEMMA, LOOP, TEMPLATES, transformers_prompt
from tests.tiny import tiny_gemma3
from tests.tiny_releases import lowering_order, quantized
from tests.web_engines import PACKAGES, require

ALL = {**TEMPLATES, "of FunctionGemma": FUNCTION_GEMMA}


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> None:
    require("node")
    monkeypatch.setenv(PACKAGES_VARIABLE, str(PACKAGES))


def written(directory: Path, template: str | None) -> Path:
    """What lies around a graph."""
    checkpoint = quantized(directory, tiny_gemma3(), INT8_CHANNEL)
    order = lowering_order(checkpoint, directory, chat_template=template)
    (release := directory / "release").mkdir()
    write_web_config(order, "q8", release)
    return release


def prompts(template: str, tmp_path: Path) -> list[tuple[Conversation, object]]:
    asked = [each for each in CONVERSATIONS if each.asks in template]
    found = web_prompts(written(tmp_path, template), asked, tmp_path)
    assert isinstance(found, Prompts)
    assert found.subject.startswith("transformers.js ")
    assert found.template == template
    assert not found.puts_bos
    return list(zip(asked, found.rendered, strict=True))


@pytest.mark.usefixtures("node")
@pytest.mark.parametrize("name", ALL)
def test_transformers_js_renders_what_transformers_does(name: str, tmp_path: Path) -> None:
    compared = 0
    for conversation, shown in prompts(ALL[name], tmp_path):
        expected = transformers_prompt(ALL[name], conversation)
        if expected is not None:
            assert shown == expected, conversation.name
            compared += 1
    assert compared >= 4


@pytest.mark.usefixtures("node")
def test_a_template_transformers_js_cannot_run_is_not_rendered(tmp_path: Path) -> None:
    template = LOOP.replace("%s", "{{ m['content'] | center(40) }}")
    (conversation, shown), *_ = prompts(template, tmp_path)
    assert transformers_prompt(template, conversation) is not None
    assert not isinstance(shown, str)


@pytest.mark.usefixtures("node")
def test_a_tokenizer_that_cannot_be_opened_is_the_artifacts_fault(tmp_path: Path) -> None:
    release = written(tmp_path, LOOP)
    (release / "tokenizer.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ArtifactError, match="exit code 1"):
        web_prompts(release, CONVERSATIONS, tmp_path)


def test_a_release_without_a_template_has_nothing_to_render(tmp_path: Path) -> None:
    release = written(tmp_path, None)
    assert "chat_template" not in json.loads((release / "tokenizer_config.json").read_text())
    assert web_prompts(release, CONVERSATIONS, tmp_path) is None


def test_without_the_packages_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PACKAGES_VARIABLE, str(tmp_path))
    found = web_prompts(written(tmp_path, LOOP), CONVERSATIONS, tmp_path)
    assert isinstance(found, NotRendered)
    assert "transformers.js rendered no prompt" in found.why
