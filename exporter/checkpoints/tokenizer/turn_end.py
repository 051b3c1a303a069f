"""What a chat template writes: the token that ends an assistant's turn, and every marker it uses.

The template is executed, as transformers executes it, on a short conversation. Not about finding it
(`chat_templates`) or other engines' idea of Jinja (`exporter.validation`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from exporter.errors import TokenizerError

ANSWER = "The answer."
# Marks for training, which only transformers knows: they render what is between them.
GENERATION = re.compile(r"\{%(-?)\s*(?:end)?generation\s*(-?)%\}")
COMMENT = r"{#\1 \2#}"


@dataclass(frozen=True)
class Rendered:
    """turn_end: the added token behind an answer, None where there is none. markers: every added token in
    the conversation. failure: why nothing could be rendered, in the template's or Jinja's words."""

    turn_end: str | None
    markers: frozenset[str]
    failure: str | None = None


def render_turn(template: str, special: Mapping[str, str], added: Mapping[str, int]) -> Rendered:
    """special: bos_token and the like, as templates know them. added: ids of tokens that text is searched
    for before any merging."""
    try:
        ended = _conversation(template, special, 2, False)
        whole = ended + _conversation(template, special, 3, True)
    except TokenizerError as error:
        return Rendered(None, frozenset(), error.what)
    markers = frozenset(token for token in added if token and token in whole)
    behind = ended.rpartition(ANSWER)[2].lstrip() if ANSWER in ended else ""
    ends = [token for token in markers if behind.startswith(token)]
    return Rendered(max(ends, key=len, default=None), markers)


def _conversation(template: str, special: Mapping[str, str], turns: int, prompting: bool) -> str:
    """The first turns of a conversation. Raises TokenizerError where it cannot be rendered, be contents
    strings or lists of parts."""
    words = (("user", "A question."), ("assistant", ANSWER), ("user", "Another."))[:turns]
    strings: list[dict[str, Any]] = [{"role": role, "content": text} for role, text in words]
    parts: list[dict[str, Any]] = [
        {"role": role, "content": [{"type": "text", "text": text}]} for role, text in words
    ]
    try:
        rendered = render(template, strings, special, prompting)
        if all(text in rendered for _, text in words):
            return rendered
    except TokenizerError:
        pass
    return render(template, parts, special, prompting)


def render(
    template: str, messages: list[dict[str, Any]], special: Mapping[str, str], prompting: bool
) -> str:
    """What transformers' Jinja makes of messages. Raises TokenizerError for a template that refuses them or
    is none."""
    import jinja2  # here: base models come without a template
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def raise_exception(message: str) -> NoReturn:
        raise jinja2.TemplateError(message)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
    )
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = lambda form: ""
    try:
        return environment.from_string(GENERATION.sub(COMMENT, template)).render(
            messages=messages, add_generation_prompt=prompting, **special
        )
    except Exception as error:  # a template can fail in any way Python can
        raise TokenizerError("the chat template", f"{type(error).__name__}: {error}", "mend it") from error
