"""The chat template as LiteRT-LM's engine is given it: rewritten where its Jinja would render other text.

    (1) LiteRT-LM gives each message's content as a list of parts. A template that knows strings alone would
        write that list out, or fail: its messages are made into strings first.
    (2) LiteRT-LM leaves eos_token empty: a template that asks for it is told.
    (3) LiteRT-LM's Jinja (minijinja) has no methods of strings and dictionaries: the calls that filters and
        tests can say are said by them.

All are decided by the template, whichever family it comes with. Whether what comes out renders the same
text is not asserted here: validation runs it in the engine (`exporter.validation.template_check`).
"""

from __future__ import annotations

import json
from pathlib import Path

from exporter.checkpoints.tokenizer.template_rendering import render_each
from exporter.checkpoints.tokenizer.turn_end import Turns, better, messages_of
from exporter.lowering.template_methods import without_methods
from runtimes.strict_json import StrictJsonError, read_json_object

AS_STRINGS = """\
{%- set plain = namespace(messages=[], text='') -%}
{%- for message in messages -%}
    {%- set plain.text = message['content'] if message['content'] is string else '' -%}
    {%- if message['content'] is not string -%}
        {%- for part in message['content'] if part['type'] == 'text' -%}
            {%- set plain.text = plain.text + part['text'] -%}
        {%- endfor -%}
    {%- endif -%}
    {%- set plain.messages = plain.messages + [{'role': message['role'], 'content': plain.text}] -%}
{%- endfor -%}
{%- set messages = plain.messages -%}
"""
# The same, for templates that look at more of a message than its role and content.
AS_STRINGS_WITH_THE_REST = AS_STRINGS.replace(
    "{'role': message['role'], 'content': plain.text}", "dict(message, content=plain.text)"
)
METHODS = {
    ("get", 1): "({x}[{0}]|default(none))",
    ("get", 2): "({x}[{0}]|default({1}))",
    ("strip", 0): "({x}|trim)",
    ("strip", 1): "({x}|trim({0}))",
    ("upper", 0): "({x}|upper)",
    ("lower", 0): "({x}|lower)",
    ("title", 0): "({x}|title)",
    ("capitalize", 0): "({x}|capitalize)",
    ("replace", 2): "({x}|replace({0}, {1}))",
    ("split", 1): "({x}|split({0})|list)",
    ("startswith", 1): "({x} is startingwith({0}))",
    ("endswith", 1): "({x} is endingwith({0}))",
    ("join", 1): "({0}|join({x}))",
    ("keys", 0): "({x}|list)",
}
REST = ("tool_calls", "tool_call_id", "reasoning", "name'", "message.name")
QUESTION, ANSWER = " A question. ", "An answer."
EOS = "eos_token"
SPECIAL = {"bos_token": "<bos>", "eos_token": "<eos>"}


def engine_template(template: str) -> str:
    """What a bundle has for a checkpoint's template: the template itself where nothing is in the way."""
    before = ""
    if _knows_strings_alone(template):
        before = AS_STRINGS_WITH_THE_REST if any(key in template for key in REST) else AS_STRINGS
    return before + without_methods(template, METHODS)


def with_eos(template: str | None, tokenizer: Path) -> str | None:
    """The template, told what its tokenizer's directory calls the end of text where it asks for that."""
    if template is None or EOS not in template:
        return template
    try:
        stated = read_json_object(tokenizer / "tokenizer_config.json").get(EOS)
    except (OSError, StrictJsonError):
        return template  # the gate on prompts will tell
    eos = stated.get("content") if isinstance(stated, dict) else stated
    if not isinstance(eos, str):
        return template
    return f"{{%- set {EOS} = {json.dumps(eos, ensure_ascii=False)} -%}}" + template


def begins_with_bos(template: str) -> bool:
    """Whether prompts begin with bos_token as such. The engine leaves that empty, and writes a start token
    itself where it is told one. A first marker that is bos_token by chance, as trainers of ChatML have it,
    is the template's own: written by both it would be there twice. True where nothing can be rendered.
    """
    turns: Turns = (("user", QUESTION),)
    specials = (SPECIAL, {**SPECIAL, "bos_token": ""})
    contexts = [
        {"messages": messages_of(turns, as_parts), "add_generation_prompt": True, **special}
        for as_parts in (False, True)
        for special in specials
    ]
    shown = render_each(template, contexts)
    full, without = better(turns, shown[0], shown[2]), better(turns, shown[1], shown[3])
    return not isinstance(full, str) or full == f"{SPECIAL['bos_token']}{without}"


def _knows_strings_alone(template: str) -> bool:
    """Whether a conversation of parts renders otherwise than one of strings, which can be rendered."""
    turns: Turns = (("user", QUESTION), ("assistant", ANSWER), ("user", QUESTION))
    # A template may take parts from users and not from a system, which others again refuse.
    contexts = [
        {"messages": messages_of(words, as_parts), "add_generation_prompt": True, **SPECIAL}
        for words in (turns, (("system", QUESTION), *turns))
        for as_parts in (False, True)
    ]
    shown = render_each(template, contexts)
    return any(
        isinstance(strings, str) and parts != strings
        for strings, parts in zip(shown[::2], shown[1::2], strict=True)
    )
