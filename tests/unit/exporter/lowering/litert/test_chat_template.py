"""Templates as LiteRT-LM's engine is given them: the same text from parts as from strings, without methods.

Rendered here by Jinja; by the engine itself in tests/parity/test_litert_lm_templates.py.
"""

from __future__ import annotations

import jinja2
import pytest

from exporter.lowering.litert.chat_template import METHODS, engine_template
from exporter.lowering.template_methods import without_methods

PARTS = [{"type": "text", "text": " Hi"}, {"type": "image"}, {"type": "text", "text": " you "}]
MESSAGES = [{"role": "user", "content": PARTS}, {"role": "model", "content": "yes "}]
STRINGS = "{{ bos_token }}{% for message in messages %}{{ message['content'] | trim }}|{% endfor %}"
ADDED = "{% for message in messages %}{{ '<' + message['content'] + '>' }}{% endfor %}"
EITHER = (
    "{% for m in messages %}{% if m.content is string %}{{ m.content }}{% else %}"
    "{% for part in m.content %}{{ part.text }}{% endfor %}{% endif %}{% endfor %}"
)


@pytest.mark.parametrize(("template", "text"), [(STRINGS, "<bos>Hi you|yes|"), (ADDED, "< Hi you ><yes >")])
def test_a_template_for_strings_is_given_strings(template: str, text: str) -> None:
    rendered = jinja2.Template(engine_template(template)).render(messages=MESSAGES, bos_token="<bos>")
    assert rendered == text


def test_a_system_message_taken_as_a_string_alone_is_given_as_one() -> None:
    template = "{% if messages[0].role == 'system' %}{{ messages[0].content | trim }}{% endif %}" + EITHER
    system = {"role": "system", "content": [{"type": "text", "text": " Be brief. "}]}
    rendered = jinja2.Template(engine_template(template)).render(messages=[system])
    assert rendered == "Be brief. Be brief. "


@pytest.mark.parametrize("template", [EITHER, "{{ raise_exception('no') }}", "{% for", "{{ messages }}"])
def test_a_template_that_takes_parts_or_takes_nothing_is_the_models_own(template: str) -> None:
    expected = template if template != "{{ messages }}" else engine_template(template)
    assert engine_template(template) == expected


def test_what_else_a_message_says_is_kept_for_a_template_that_asks() -> None:
    assert "dict(message, content" in engine_template(STRINGS + "{{ messages[0].tool_calls }}")
    assert "dict(message, content" not in engine_template(STRINGS)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{{ m.get('a') }}", "{{ (m['a']|default(none)) }}"),
        ("{{ m.get('a', [1, 2]) }}", "{{ (m['a']|default([1, 2])) }}"),
        ("{% if x in (a or b).keys() %}\n", "{% if x in ((a or b)|list) %}\n"),
        ("{{ 'a' + m['b'].c.strip().upper() }}", "{{ 'a' + ((m['b'].c|trim)|upper) }}"),
        ("{{ m.get(n.get('k')) }}", "{{ (m[(n['k']|default(none))]|default(none)) }}"),
        ("{{ f(x).split('\\n')[0] }}", "{{ (f(x)|split('\\n')|list)[0] }}"),
        ("x:{\n{%- if m.get('a') %}", "x:{ {%- if (m['a']|default(none)) %}"),
        ("{% if not t.startswith('x') %}", "{% if not (t is startingwith('x')) %}"),
    ],
)
def test_methods_are_said_by_filters_and_tests(source: str, said: str) -> None:
    assert without_methods(source, METHODS) == said


@pytest.mark.parametrize(
    "source",
    [
        "{{ m.items() }} .get('a')",
        "text .strip() text\n",
        "{# m.get('a') #}",
        "{{ m.get() }}",
        "{% m.get( %",
    ],
)
def test_what_is_no_such_call_stays(source: str) -> None:
    assert without_methods(source, METHODS) == source
