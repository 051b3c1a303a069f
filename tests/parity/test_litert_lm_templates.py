"""LiteRT-LM's engine renders the templates bundles carry as transformers renders the checkpoint's own.

Matrix: templates of each family's kind and of trainers (ChatML, string concatenation, methods, eos_token)
x every kind of model the engine knows x the fixed conversations. Not asserted: what a model answers, tools
of Gemma 3's kind (the engine writes them in words of its own).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.lowering.conversations import CONVERSATIONS, Conversation
from exporter.lowering.litert.bundle import BundleOrder, write_bundle
from exporter.lowering.litert.chat_template import with_eos
from exporter.lowering.litert.engine_prompts import render_prompts
from exporter.lowering.litert.metadata import ModelFacts
from runtimes.errors import ArtifactError
from tests.chat_templates import LOOP, TEMPLATES, transformers_prompt
from tests.tiny import write_tiny_tokenizer


def prompts(template: str, model_type: str, directory: Path) -> list[tuple[Conversation, str]]:
    """What the engine renders, of the conversations it is asked for."""
    write_tiny_tokenizer(directory)
    facts = ModelFacts(model_type, 2, (1, 5), with_eos(template, directory), 64, embedded=False)
    bundle = directory / "x.litertlm"
    write_bundle(BundleOrder(facts, directory, b""), [], bundle)
    asked = [each for each in CONVERSATIONS if each.asks in template]
    found = render_prompts(bundle, asked, directory)
    assert found is not None
    assert found.puts_bos
    return [(each, shown) for each, shown in zip(asked, found.rendered, strict=True) if shown is not None]


@pytest.mark.parametrize("model_type", ["gemma2", "gemma3_text", "gemma4_text"])
@pytest.mark.parametrize("name", TEMPLATES)
def test_the_engine_renders_what_transformers_does(name: str, model_type: str, tmp_path: Path) -> None:
    template, compared = TEMPLATES[name], 0
    for conversation, shown in prompts(template, model_type, tmp_path):
        expected = transformers_prompt(template, conversation)
        if expected is not None:
            # The engine puts the first token before the prompt itself, and leaves bos_token empty.
            assert shown == expected.removeprefix("<bos>"), conversation.name
            compared += 1
    assert compared >= 4


def test_a_template_the_engine_cannot_run_renders_otherwise(tmp_path: Path) -> None:
    template = LOOP.replace("%s", "{{ '%s' % m['content'] }}").replace("'%s' %", "'%s|' %")
    (conversation, shown), *_ = prompts(template, "gemma3_text", tmp_path)
    assert shown != transformers_prompt(template, conversation)


def test_a_bundle_without_a_template_has_nothing_to_render(tmp_path: Path) -> None:
    write_tiny_tokenizer(tmp_path)
    facts = ModelFacts("gemma3_text", 2, (1,), None, 64, embedded=False)
    write_bundle(BundleOrder(facts, tmp_path, b""), [], tmp_path / "x.litertlm")
    assert render_prompts(tmp_path / "x.litertlm", CONVERSATIONS, tmp_path) is None


def test_a_damaged_bundle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.litertlm").write_bytes(b"LITERTLM" + b"\0" * 40)
    with pytest.raises(ArtifactError):
        render_prompts(tmp_path / "x.litertlm", CONVERSATIONS, tmp_path)
