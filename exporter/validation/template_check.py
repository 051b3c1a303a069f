"""The chat template an artifact carries, executed by its runtime, against transformers byte by byte.

transformers renders the checkpoint's own template; a conversation that it refuses, or that the template
does not know of, is not compared. An engine that no export brings, and that is not here, is named in the
report and is no gate (docs/adr/0018). Not about rendering in a runtime (`exporter.lowering.conversations`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from exporter.checkpoints.files.checkpoint_directory import CheckpointDirectory
from exporter.checkpoints.tokenizer.template_rendering import Unrendered, render_each
from exporter.checkpoints.tokenizer.tokenizer_config import read_tokenizer_config, special_names
from exporter.checkpoints.tokenizer.turn_end import better, messages_of, rendered_whole
from exporter.lowering.conversations import (
    CONVERSATIONS,
    Conversation,
    NotRendered,
    Prompts,
    RendersConversations,
)
from exporter.validation.check_context import ArtifactCheck
from exporter.validation.gates import count_gate
from runtimes.errors import ArtifactError, RuntimeUnavailable
from runtimes.excerpt import plain_excerpt

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
    match prompts:
        case NotRendered(why):
            check.findings.not_checked.append(f"Chat template of {check.artifact.path}: {why}.")
        case Prompts():
            _judge(check, template, asked, prompts)


def _judge(check: ArtifactCheck, template: str, asked: Sequence[Conversation], prompts: Prompts) -> None:
    path, special = check.artifact.path, _special(check)
    bos = special.get("bos_token", "") if prompts.puts_bos else ""
    unlike = 0
    expectations = _expected(template, asked, special)
    for conversation, shown, expected in zip(asked, prompts.rendered, expectations, strict=True):
        if shown is None:
            continue
        if (difference := _difference(shown, expected, bos)) is not None:
            unlike += 1
            check.findings.not_checked.append(
                f"{path}: {prompts.subject} renders {conversation.name} {difference}."
            )
    if prompts.template != template:
        check.findings.remarks.append(
            f"The chat template of {path} is rewritten: {prompts.subject} would not render the "
            "checkpoint's own to the same text."
        )
    check.findings.gates.append(count_gate("template", path, prompts.subject, UNLIKE, unlike, "prompts"))


def _difference(shown: str | Unrendered, expected: str | Unrendered, bos: str) -> str | None:
    """In words, None where there is none, or where transformers renders nothing to compare with.

    bos: what the runtime puts before a prompt. A crash or a hang counts whatever transformers does.
    """
    stopped = isinstance(shown, Unrendered) and shown.cause == "stopped"
    if isinstance(expected, Unrendered) and expected.cause != "stopped" and not stopped:
        return None
    told = f"as {(bos + shown)[:SHOWN]!r}" if isinstance(shown, str) else _not_at_all(shown)
    wanted = f"as {expected[:SHOWN]!r}" if isinstance(expected, str) else _not_at_all(expected)
    if isinstance(shown, str) and bos + shown == expected:
        return None
    return f"{told}, transformers {wanted}"


def _not_at_all(of: Unrendered) -> str:
    return f"not at all ({plain_excerpt(of.why)})"


def _expected(
    template: str, asked: Sequence[Conversation], special: Mapping[str, str]
) -> Iterator[str | Unrendered]:
    """What transformers makes of conversations: of strings, or of parts where a template wants those.

    Each is rendered within limits first: transformers has none.
    """
    words = [_variables(each) for each in asked]
    forms = [
        {**variables, "messages": messages_of(each.messages, as_parts), "add_generation_prompt": True}
        for each, variables in zip(asked, words, strict=True)
        for as_parts in (False, True)
    ]
    bounded = render_each(template, [{"documents": None, **special, **form} for form in forms])
    shown = [
        _by_transformers(template, form, special) if isinstance(found, str) else found
        for form, found in zip(forms, bounded, strict=True)
    ]
    for each, strings, parts in zip(asked, shown[::2], shown[1::2], strict=True):
        found = better(each.messages, strings, parts)
        whole = isinstance(found, Unrendered) or rendered_whole(each.messages, found)
        yield found if whole else Unrendered("refused", "leaves out what was said")


def _variables(of: Conversation) -> dict[str, Any]:
    return {"tools": [dict(each) for each in of.tools] or None, **dict(of.variables)}


def _by_transformers(
    template: str, form: Mapping[str, Any], special: Mapping[str, str]
) -> str | Unrendered:
    from transformers.utils.chat_template_utils import render_jinja_template

    given = {key: value for key, value in form.items() if key != "messages"}
    try:
        (found,), _ = render_jinja_template(
            conversations=[form["messages"]], chat_template=template, **special, **given
        )
    except Exception as error:  # a template refuses in any way Python can
        return Unrendered("refused", f"{type(error).__name__}: {error}")
    return str(found)


def _special(check: ArtifactCheck) -> dict[str, str]:
    """Special tokens as the checkpoint's tokenizer spells them, whatever the release says of them."""
    with tempfile.TemporaryDirectory(dir=check.scratch) as place:
        check.job.source.write_tokenizer(Path(place))
        return special_names(read_tokenizer_config(CheckpointDirectory(Path(place))))
