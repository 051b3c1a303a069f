"""LiteRT-LM's engine renders the templates bundles carry as transformers renders the checkpoint's own.

Matrix: templates of each family's kind and of trainers (ChatML, string concatenation, methods, eos_token)
x every kind of model the engine knows x the fixed conversations. Not asserted: what a model answers, tools
of Gemma 3's kind (the engine writes them in words of its own).
"""

from __future__ import annotations

from pathlib import Path

import litert_lm
import pytest

from exporter.checkpoints.tokenizer.template_rendering import Unrendered
from exporter.lowering.conversations import CONVERSATIONS, Conversation
from exporter.lowering.litert.bundle import BundleOrder, write_bundle
from exporter.lowering.litert.chat_template import begins_with_bos, with_eos
from exporter.lowering.litert.engine_prompts import render_prompts
from exporter.lowering.litert.lowering import LiteRtLowering
from exporter.lowering.litert.metadata import ModelFacts
from exporter.schemes import INT8_CHANNEL
from runtimes.errors import ArtifactError
from tests.chat_templates import LOOP, TEMPLATES, transformers_prompt
from tests.fakes import silent
from tests.tiny import tiny_gemma3, write_tiny_tokenizer
from tests.tiny_releases import lowering_order, quantized


def prompts(template: str, model_type: str, directory: Path) -> list[tuple[Conversation, str | Unrendered]]:
    """What the engine is given of the conversations it is asked for, with the token it begins them with."""
    write_tiny_tokenizer(directory)
    facts = ModelFacts(model_type, 2, (1, 5), with_eos(template, directory), 64, embedded=False)
    bundle = directory / "x.litertlm"
    write_bundle(BundleOrder(facts, directory, b""), [], bundle)
    asked = [each for each in CONVERSATIONS if each.asks in template]
    found = render_prompts(bundle, asked, directory)
    assert found is not None
    bos = "<bos>" if found.puts_bos else ""
    return [
        (each, bos + shown if isinstance(shown, str) else shown)
        for each, shown in zip(asked, found.rendered, strict=True)
        if shown is not None
    ]


@pytest.mark.parametrize("model_type", ["gemma2", "gemma3_text", "gemma4_text"])
@pytest.mark.parametrize("name", TEMPLATES)
def test_the_engine_renders_what_transformers_does(name: str, model_type: str, tmp_path: Path) -> None:
    template, compared = TEMPLATES[name], 0
    for conversation, shown in prompts(template, model_type, tmp_path):
        expected = transformers_prompt(template, conversation)
        if expected is not None:
            assert shown == expected, conversation.name
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


HI = Conversation("", (("user", "Hi"),))
SLICED = (
    "{% for m in messages %}{{ '<start_of_turn>' + m['role'] + '\n' + m['content']%s + '<end_of_turn>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)


def test_an_engine_that_crashes_is_outlived(tmp_path: Path) -> None:
    """minijinja panics at a step backwards, and the engine aborts."""
    shown = [each for _, each in prompts(SLICED.replace("%s", "[::-1]"), "gemma3_text", tmp_path)]
    assert any(isinstance(each, Unrendered) and "SIGABRT" in each.why for each in shown)
    assert len(shown) == sum(each.asks == "" for each in CONVERSATIONS)
    assert not list(tmp_path.glob("prompts.litertlm"))


CHATML = (
    "{% for m in messages %}{{ '<start_of_turn>' + m['role'] + '\n' + m['content'] + '<end_of_turn>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>assistant\n' }}{% endif %}"
)


@pytest.mark.parametrize(
    ("template", "told"),
    [
        ("{{ bos_token }}" + CHATML, True),
        (CHATML, False),
        ("<start_of_turn>" + CHATML, False),
        ("{% if m %}", True),
    ],
)
def test_the_engine_is_told_a_start_token_only_where_the_template_leaves_it_to_it(
    template: str, told: bool
) -> None:
    assert begins_with_bos(template) is told


@pytest.mark.parametrize("template", [CHATML, "{{ bos_token }}" + CHATML])
def test_a_prompt_begins_with_the_tokens_that_transformers_gives_it(template: str, tmp_path: Path) -> None:
    """As trl's `setup_chat_format` leaves a checkpoint: the first marker of a turn is bos_token as well."""
    checkpoint = quantized(tmp_path, tiny_gemma3(), INT8_CHANNEL)
    order = lowering_order(checkpoint, tmp_path, bos_token=4, context=64, chat_template=template)
    (artifact,) = LiteRtLowering(frozenset({"litertlm"})).lower(order, tmp_path, silent)
    litert_lm.set_min_log_severity(litert_lm.LogSeverity.FATAL)
    path, backend = str(tmp_path / artifact.path), litert_lm.Backend.CPU(thread_count=1)
    with litert_lm.Engine(path, backend=backend, cache_dir=str(tmp_path)) as engine:
        with engine.create_conversation(max_output_tokens=1) as conversation:
            conversation.send_message("Hi")
            taken = conversation.token_count - 1
        expected = transformers_prompt(template.replace("bos_token", "'<start_of_turn>'"), HI)
        assert taken == len(engine.tokenize(expected))
