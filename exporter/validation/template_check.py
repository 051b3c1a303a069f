"""The chat template an artifact carries, executed by its runtime, against transformers byte by byte.

transformers renders the checkpoint's own template; a conversation that it refuses, or that the template
does not know of, is not compared. Not about rendering in a runtime (`exporter.lowering.conversations`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from exporter.lowering.conversations import CONVERSATIONS, Conversation, Prompts, RendersConversations
from exporter.validation.check_context import ArtifactCheck
from exporter.validation.gates import count_gate
from runtimes.errors import ArtifactError, RuntimeUnavailable
from runtimes.strict_json import read_json_object

UNLIKE = "prompts unlike transformers'"
SHOWN = 120  # characters of a prompt that is wrong


def check_template(check: ArtifactCheck) -> None:
    """Gate and remarks go to the check's findings; nothing where there is no template to execute."""
    template = check.job.source.tokens.chat_template
    if template is None or not isinstance(check.lowering, RendersConversations):
        return
    asked = [each for each in CONVERSATIONS if each.asks in template]
    path = check.release.directory / check.artifact.path
    try:
        prompts = check.lowering.render(path, check.artifact, asked, check.scratch)
    except RuntimeUnavailable as error:
        check.skip("template", "chat template", str(error), UNLIKE)
        return
    except ArtifactError as error:
        check.remark("chat template", error)
        gate = count_gate("template", check.artifact.path, "chat template", "unreadable", 1, "files")
        check.findings.gates.append(gate)
        return
    if prompts is not None:
        _judge(check, template, asked, prompts)


def _judge(check: ArtifactCheck, template: str, asked: Sequence[Conversation], prompts: Prompts) -> None:
    path, special, unlike = check.artifact.path, _special(check.release.directory), 0
    for conversation, shown in zip(asked, prompts.rendered, strict=True):
        expected = _rendered(template, conversation, special)
        if shown is None or expected is None:
            continue
        if prompts.puts_bos:
            expected = expected.removeprefix(special.get("bos_token", ""))
        if shown != expected:
            unlike += 1
            check.findings.not_checked.append(
                f"{path}: {prompts.subject} renders {conversation.name} as {shown[:SHOWN]!r}, "
                f"transformers as {expected[:SHOWN]!r}."
            )
    if prompts.template != template:
        check.findings.remarks.append(
            f"The chat template of {path} is rewritten: {prompts.subject} would not render the "
            "checkpoint's own to the same text."
        )
    check.findings.gates.append(count_gate("template", path, prompts.subject, UNLIKE, unlike, "prompts"))


def _rendered(template: str, conversation: Conversation, special: dict[str, str]) -> str | None:
    """What transformers makes of it, None where it makes nothing."""
    from transformers.utils.chat_template_utils import render_jinja_template

    strings = [{"role": role, "content": text} for role, text in conversation.messages]
    parts = [
        {"role": role, "content": [{"type": "text", "text": text}]} for role, text in conversation.messages
    ]
    for messages in (strings, parts):
        try:
            (found,), _ = render_jinja_template(
                conversations=[messages],
                tools=[dict(each) for each in conversation.tools] or None,
                chat_template=template,
                add_generation_prompt=True,
                **special,
                **dict(conversation.variables),
            )
        except Exception:  # a template refuses in any way Python can; then the other form is tried
            continue
        if all(text.strip() in found for _, text in conversation.messages):
            return str(found)
    return None


def _special(release: Path) -> dict[str, str]:
    """Special tokens as the release's tokenizer spells them, which templates know by these names."""
    config = read_json_object(release / "tokenizer_config.json")
    named = {key: entry for key, entry in config.items() if key.endswith("_token")}
    plain = {key: each.get("content") if isinstance(each, dict) else each for key, each in named.items()}
    return {key: each for key, each in plain.items() if isinstance(each, str)}
