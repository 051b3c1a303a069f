"""What a chat template writes: the token that ends an assistant's turn, and every marker it uses.

The template is executed, as transformers executes it, on a short conversation. Not about finding it
(`chat_templates`), how it is executed (`template_rendering`) or other engines' idea of Jinja
(`exporter.validation`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from exporter.checkpoints.tokenizer.template_rendering import Cause, Unrendered, render_each
from exporter.errors import TokenizerError
from runtimes.excerpt import plain_excerpt

ANSWER = "The answer."
WORDS = (("user", "A question."), ("assistant", ANSWER), ("user", "Another."))
Turns = Sequence[tuple[str, str]]
CAUSES: tuple[Cause, ...] = ("stopped", "refused", "failed")  # the first says most


@dataclass(frozen=True)
class Rendered:
    """turn_end: the added token behind an answer, None where there is none. markers: every added token in
    the conversation. failure: why nothing could be rendered, in the template's or Jinja's words."""

    turn_end: str | None
    markers: frozenset[str]
    failure: str | None = None


def render_turn(
    template: str, special: Mapping[str, str], added: Mapping[str, int], where: object
) -> Rendered:
    """special: bos_token and the like, as templates know them. added: ids of tokens that text is searched
    for before any merging. Raises TokenizerError for a template that cannot even render a user's question,
    unless it says so itself (as TranslateGemma's does, which wants languages with it)."""
    asked = ((WORDS[:1], True), (WORDS[:2], False), (WORDS, True))
    question, ended, more = _conversations(template, special, asked)
    if isinstance(question, Unrendered) and question.cause != "refused":
        raise TokenizerError(
            where,
            f"the chat template cannot render a user's question ({plain_excerpt(question.why)})",
            "mend the template, or export without it: a release may have none",
        )
    if isinstance(ended, Unrendered):
        return Rendered(None, frozenset(), plain_excerpt(ended.why))
    if isinstance(more, Unrendered):
        return Rendered(None, frozenset(), plain_excerpt(more.why))
    markers = frozenset(token for token in added if token and token in ended + more)
    behind = ended.rpartition(ANSWER)[2].lstrip() if ANSWER in ended else ""
    ends = [token for token in markers if behind.startswith(token)]
    return Rendered(max(ends, key=len, default=None), markers)


def messages_of(turns: Turns, as_parts: bool) -> list[dict[str, Any]]:
    """Messages whose contents are strings, or lists of parts."""
    return [
        {"role": role, "content": [{"type": "text", "text": text}] if as_parts else text}
        for role, text in turns
    ]


def rendered_whole(turns: Turns, shown: str | Unrendered) -> bool:
    """Whether a prompt has every text of a conversation."""
    return isinstance(shown, str) and all(text.strip() in shown for _, text in turns)


def better(turns: Turns, strings: str | Unrendered, parts: str | Unrendered) -> str | Unrendered:
    """Of a conversation of strings and the same of parts, what a template made for one of them renders."""
    if rendered_whole(turns, strings) or (isinstance(strings, str) and not isinstance(parts, str)):
        return strings
    if isinstance(strings, Unrendered) and isinstance(parts, Unrendered):
        return min(strings, parts, key=lambda each: CAUSES.index(each.cause))
    return parts


def _conversations(
    template: str, special: Mapping[str, str], asked: Sequence[tuple[Turns, bool]]
) -> Iterator[str | Unrendered]:
    contexts = [
        {"messages": messages_of(turns, as_parts), "add_generation_prompt": prompting, **special}
        for turns, prompting in asked
        for as_parts in (False, True)
    ]
    shown = render_each(template, contexts)
    for (turns, _), strings, parts in zip(asked, shown[::2], shown[1::2], strict=True):
        yield better(turns, strings, parts)
