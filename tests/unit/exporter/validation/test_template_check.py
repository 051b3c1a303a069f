"""The gate on chat templates: passed, failed and skipped as the runtime's prompts are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from exporter.checkpoints.interface import TokenFacts
from exporter.checkpoints.tokenizer.template_rendering import Cause, Unrendered
from exporter.lowering.conversations import Conversation, NotRendered, Prompts
from exporter.reference.logits_file import LogitsFile
from exporter.reference.special_prompt import SpecialPrompt
from exporter.reference.texts import TokenisedText
from exporter.schemes import INT8_CHANNEL
from exporter.validation.check_context import ArtifactCheck
from exporter.validation.findings import Findings, ReleaseUnderTest
from exporter.validation.template_check import check_template
from exporter.validation.verdict import Failed, Passed, Skipped
from runtimes.errors import ArtifactError, RuntimeUnavailable
from runtimes.manifest import Artifact
from tests.fakes import ArchiveLowering
from tests.jobs import a_job, a_plan, a_variant
from tests.tiny import RandomSource, tiny_gemma3, write_tiny_tokenizer
from tests.tiny_releases import quantized

TEMPLATE = "{{ bos_token }}{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
Render = Callable[[Sequence[Conversation]], Prompts | NotRendered | None]


class TemplatedSource(RandomSource):
    """A model with a chat template."""

    @property
    def tokens(self) -> TokenFacts:
        return TokenFacts(2, 1, 0, (1, 5), TEMPLATE)


class RenderingLowering(ArchiveLowering):
    """Its runtime renders conversations."""

    def __init__(self, rendered: Render) -> None:
        self.rendered = rendered

    def render(
        self, path: Path, artifact: Artifact, conversations: Sequence[Conversation], scratch: Path
    ) -> Prompts | NotRendered | None:
        return self.rendered(conversations)


def prompts(*ends: str, template: str = TEMPLATE) -> Render:
    """A runtime that writes `ends` behind the prompts, in turn."""

    def render(conversations: Sequence[Conversation]) -> Prompts:
        texts = ["".join(f"{role}: {text}\n" for role, text in each.messages) for each in conversations]
        shown = tuple(text + ends[i % len(ends)] for i, text in enumerate(texts))
        return Prompts("Runtime 1.0", template, shown, puts_bos=True)

    return render


def checked(tmp_path: Path, lowering: ArchiveLowering, source: RandomSource | None = None) -> Findings:
    source = source or TemplatedSource(tiny_gemma3())
    write_tiny_tokenizer(tmp_path)
    plan = a_plan(source, a_variant("int8", ("onnx",)))
    artifact = Artifact("text", "onnx", "model.onnx", 64, 512, 8, "last")
    release = ReleaseUnderTest(
        tmp_path, (artifact,), plan, quantized(tmp_path, tiny_gemma3(), INT8_CHANNEL)
    )
    job = a_job(source, (plan,), {"onnx": lowering}, tmp_path / "work")
    text = TokenisedText("text", np.zeros(2, np.int32), 2)
    findings = Findings()
    special = SpecialPrompt(text.tokens, 1, 0, LogitsFile(tmp_path / "unused", 1, 512))
    check_template(ArtifactCheck(job, release, artifact, {}, {}, text, None, special, tmp_path, findings))
    return findings


class EndingSource(TemplatedSource):
    """A model whose template ends a prompt with the end of text."""

    @property
    def tokens(self) -> TokenFacts:
        return TokenFacts(2, 1, 0, (1, 5), TEMPLATE + "{{ eos_token }}")


def test_what_the_release_calls_its_tokens_does_not_change_what_is_expected(tmp_path: Path) -> None:
    def render(conversations: Sequence[Conversation]) -> Prompts | NotRendered | None:
        path = tmp_path / "tokenizer_config.json"
        path.write_text(path.read_text(encoding="utf-8").replace("<eos>", "<unk>"), encoding="utf-8")
        return prompts("<eos>")(conversations)

    (gate,) = checked(tmp_path, RenderingLowering(render), EndingSource(tiny_gemma3())).gates
    assert gate.verdict == Passed(0, 0, "prompts")


def test_equal_prompts_pass(tmp_path: Path) -> None:
    findings = checked(tmp_path, RenderingLowering(prompts("")))
    (gate,) = findings.gates
    assert (gate.kind, gate.verdict) == ("template", Passed(0, 0, "prompts"))
    assert findings.not_checked == findings.remarks == []


def test_one_wrong_character_fails_and_says_where(tmp_path: Path) -> None:
    findings = checked(tmp_path, RenderingLowering(prompts("", " ", "", "", "")))
    (gate,) = findings.gates
    assert gate.verdict == Failed(1, 0, "prompts")
    (remark,) = findings.not_checked
    assert "Runtime 1.0 renders a system message as '<bos>system: Be brief." in remark
    assert "transformers as '<bos>system: Be brief." in remark


def test_a_template_of_the_artifacts_own_is_remarked_on(tmp_path: Path) -> None:
    findings = checked(tmp_path, RenderingLowering(prompts("", template="another")))
    assert findings.remarks[0].startswith("The chat template of model.onnx is rewritten: Runtime 1.0")


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (RuntimeUnavailable("not installed"), Skipped("not installed")),
        (ArtifactError("damaged"), Failed(1, 0, "files")),
    ],
)
def test_a_runtime_that_cannot_render_is_never_a_pass(
    tmp_path: Path, error: Exception, verdict: Skipped | Failed
) -> None:
    def fail(conversations: Sequence[Conversation]) -> Prompts:
        raise error

    (gate,) = checked(tmp_path, RenderingLowering(fail)).gates
    assert gate.verdict == verdict


def test_without_a_template_or_a_runtime_that_renders_there_is_no_gate(tmp_path: Path) -> None:
    base = RandomSource(tiny_gemma3())
    assert checked(tmp_path, RenderingLowering(prompts("")), base).gates == []
    assert checked(tmp_path, ArchiveLowering()).gates == []
    assert checked(tmp_path, RenderingLowering(lambda _: None)).gates == []


def test_an_engine_that_no_export_brings_is_named_where_it_is_not_here_and_is_no_gate(
    tmp_path: Path,
) -> None:
    findings = checked(tmp_path, RenderingLowering(lambda _: NotRendered("there is no node")))
    assert findings.gates == []
    assert findings.not_checked == ["Chat template of model.onnx: there is no node."]


@pytest.mark.parametrize("cause", ["failed", "stopped"])
def test_a_conversation_at_which_the_runtime_crashes_fails(tmp_path: Path, cause: Cause) -> None:
    def crash(conversations: Sequence[Conversation]) -> Prompts:
        shown = Unrendered(cause, "ended with SIGABRT")
        return Prompts("Runtime 1.0", TEMPLATE, (shown,) * len(conversations), puts_bos=True)

    findings = checked(tmp_path, RenderingLowering(crash))
    (gate,) = findings.gates
    assert isinstance(gate.verdict, Failed)
    assert (
        "renders a user alone not at all (ended with SIGABRT), transformers as" in findings.not_checked[0]
    )


def test_a_first_token_that_the_runtime_writes_again_fails(tmp_path: Path) -> None:
    def doubled(conversations: Sequence[Conversation]) -> Prompts:
        once = prompts("")(conversations)
        assert isinstance(once, Prompts)
        return replace(once, rendered=tuple(f"<bos>{each}" for each in once.rendered))

    findings = checked(tmp_path, RenderingLowering(doubled))
    (gate,) = findings.gates
    assert isinstance(gate.verdict, Failed)
    assert "as '<bos><bos>user: What" in findings.not_checked[0]
